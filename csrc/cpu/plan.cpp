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
    place_inner_tensors();
    final_ = true;
}

// Tensors that are never needed at the same time share memory: the largest first, each at the lowest place that is
// free while it lives.
void Plan::place_inner_tensors() {
    constexpr std::size_t kLine = kCacheLine / sizeof(float);
    struct Life {
        int born = -1, dead = -1;  // steps that write it and that read it last
        std::size_t floats = 0, place = 0;
    };
    std::vector<Life> lives(tensors_.size());
    for (int i = 0; i < static_cast<int>(steps_.size()); ++i) {
        const PlanStep& step = steps_[i];
        lives[step.output].born = lives[step.output].dead = i;
        lives[step.input].dead = i;
        if (step.residual >= 0) lives[step.residual].dead = i;
    }
    for (const int id : inner_)
        lives[id].floats = (static_cast<std::size_t>(tensors_[id].count()) + kLine - 1) / kLine * kLine;
    std::vector<int> order = inner_;
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return lives[a].floats > lives[b].floats; });
    std::vector<int> placed;
    for (const int id : order) {
        Life& mine = lives[id];
        if (mine.born < 0) mine.floats = 0;  // declared, never used
        std::vector<const Life*> rivals;
        for (const int other : placed)
            if (lives[other].born <= mine.dead && mine.born <= lives[other].dead) rivals.push_back(&lives[other]);
        std::sort(rivals.begin(), rivals.end(), [](const Life* a, const Life* b) { return a->place < b->place; });
        for (const Life* rival : rivals)
            if (rival->place < mine.place + mine.floats && mine.place < rival->place + rival->floats)
                mine.place = rival->place + rival->floats;
        arena_floats_ = std::max(arena_floats_, mine.place + mine.floats);
        placed.push_back(id);
    }
    for (const int id : inner_) places_.push_back(lives[id].place);
}

void Plan::run(const float* const* inputs, float* const* outputs, int threads) const {
    require(final_, "expected a final plan");
    // Concurrent runs take an arena each; the pool hands the memory of finished runs on.
    const Arena arena(arena_floats_ == 0 ? nullptr : take_buffer(arena_floats_ * sizeof(float)));
    std::vector<float*> place(tensors_.size(), nullptr);
    // Steps never write to inputs: finalize refuses a step whose output is written already.
    for (std::size_t i = 0; i < inputs_.size(); ++i) place[inputs_[i]] = const_cast<float*>(inputs[i]);
    for (std::size_t i = 0; i < outputs_.size(); ++i) place[outputs_[i]] = outputs[i];
    for (std::size_t i = 0; i < inner_.size(); ++i) place[inner_[i]] = static_cast<float*>(arena.get()) + places_[i];
    for (const PlanStep& step : steps_) {
        const float* residual = step.residual < 0 ? nullptr : place[step.residual];
        parallel_for(step.step->units(), threads, [&](long unit) {
            step.step->run_unit(unit, place[step.input], residual, place[step.output]);
        });
    }
}

const Tiling& Plan::tiling(int step) const {
    require(final_ && step >= 0 && step < static_cast<int>(steps_.size()), "expected a step of a final plan");
    const auto* conv = dynamic_cast<const ConvStep*>(steps_[step].step.get());
    require(conv != nullptr, "expected a convolution");
    return conv->tiling();
}

}  // namespace sovs
