#include "plan.h"

#include <algorithm>

#include "error.h"
#include "pool_step.h"
#include "thread_pool.h"

namespace sovs {

int Plan::add_tensor(const TensorDesc& desc) {
    require(!final_, "expected a plan that is not final yet");
    require(desc.n > 0 && desc.c > 0 && desc.h > 0 && desc.w > 0, "expected tensor sizes of at least 1");
    tensors_.push_back(desc);
    return static_cast<int>(tensors_.size()) - 1;
}

const TensorDesc& Plan::tensor(int id) const {
    require(id >= 0 && id < static_cast<int>(tensors_.size()), "expected the id of a tensor of this plan");
    return tensors_[id];
}

void Plan::add_conv2d(std::shared_ptr<const Weights> weights, const ConvParams& params, const Tuning& tuning, int input,
                      int residual, int output) {
    require(!final_, "expected a plan that is not final yet");
    tensor(input);
    const TensorDesc& out = tensor(output);
    require(input != output, "expected an output apart from the input");
    if (residual != -1) {
        const TensorDesc& added = tensor(residual);
        require(added.n == out.n && added.c == out.c && added.h == out.h && added.w == out.w && added.layout == out.layout,
                "expected a residual of the output's shape and layout");
    }
    const auto build = [this, weights = std::move(weights), params, tuning, input, output](int threads) {
        return std::make_unique<const ConvStep>(weights, params, tensor(input), tensor(output), tuning, threads);
    };
    steps_.push_back({input, residual, output, build, nullptr});
}

void Plan::add_avg_pool2x2(int input, int output) {
    require(!final_, "expected a plan that is not final yet");
    tensor(input);
    tensor(output);
    require(input != output, "expected an output apart from the input");
    const auto build = [this, input, output](int) {
        return std::make_unique<const PoolStep>(tensor(input), tensor(output));
    };
    steps_.push_back({input, -1, output, build, nullptr});
}

void Plan::finalize(const std::vector<int>& inputs, const std::vector<int>& outputs, int threads) {
    require(!final_, "expected a plan that is not final yet");
    std::vector<bool> written(tensors_.size(), false);
    for (const int id : inputs) {
        tensor(id);
        written[id] = true;
    }
    for (PlanStep& step : steps_) {
        require(written[step.input] && (step.residual < 0 || written[step.residual]),
                "expected every step to read tensors that are inputs or written before");
        require(!written[step.output], "expected every tensor to be written once");
        written[step.output] = true;
        step.step = step.build(threads);
    }
    for (const int id : outputs) {
        tensor(id);
        require(written[id] && std::find(inputs.begin(), inputs.end(), id) == inputs.end(),
                "expected outputs that a step writes");
    }
    inputs_ = inputs;
    outputs_ = outputs;
    for (int id = 0; id < static_cast<int>(tensors_.size()); ++id)
        if (std::find(inputs.begin(), inputs.end(), id) == inputs.end() &&
            std::find(outputs.begin(), outputs.end(), id) == outputs.end())
            inner_.push_back(id);
    final_ = true;
}

std::unique_ptr<Plan::Arena> Plan::take_arena() const {
    {
        std::lock_guard<std::mutex> lock(arena_mutex_);
        if (!idle_arenas_.empty()) {
            auto arena = std::move(idle_arenas_.back());
            idle_arenas_.pop_back();
            return arena;
        }
    }
    auto arena = std::make_unique<Arena>();
    for (const int id : inner_) arena->emplace_back(static_cast<std::size_t>(tensors_[id].count()));
    return arena;
}

void Plan::run(const float* const* inputs, float* const* outputs, int threads) const {
    require(final_, "expected a final plan");
    // One-step plans have nothing inside, and no lock to wait for.
    auto arena = inner_.empty() ? nullptr : take_arena();
    std::vector<float*> place(tensors_.size(), nullptr);
    // Steps never write to inputs: finalize refuses a step whose output is written already.
    for (std::size_t i = 0; i < inputs_.size(); ++i) place[inputs_[i]] = const_cast<float*>(inputs[i]);
    for (std::size_t i = 0; i < outputs_.size(); ++i) place[outputs_[i]] = outputs[i];
    for (std::size_t i = 0; i < inner_.size(); ++i) place[inner_[i]] = (*arena)[i].data();
    for (const PlanStep& step : steps_) {
        const float* residual = step.residual < 0 ? nullptr : place[step.residual];
        parallel_for(step.step->units(), threads, [&](long unit) {
            step.step->run_unit(unit, place[step.input], residual, place[step.output]);
        });
    }
    if (arena == nullptr) return;
    std::lock_guard<std::mutex> lock(arena_mutex_);
    idle_arenas_.push_back(std::move(arena));
}

const Tiling& Plan::tiling(int step) const {
    require(final_ && step >= 0 && step < static_cast<int>(steps_.size()), "expected a step of a final plan");
    const auto* conv = dynamic_cast<const ConvStep*>(steps_[step].step.get());
    require(conv != nullptr, "expected a convolution");
    return conv->tiling();
}

}  // namespace sovs
