#include "plan/plan.h"

#include <algorithm>
#include <chrono>
#include <mutex>

#include "plan/arena.h"
#include "steps/copy_step.h"
#include "conv/dense_step.h"
#include "conv/depthwise_step.h"
#include "base/error.h"
#include "steps/pool_step.h"
#include "base/thread_pool.h"
#include "conv/winograd_step.h"

namespace sovs {
namespace {

constexpr std::size_t kLine = kCacheLine / sizeof(float);

std::size_t whole_lines(std::size_t floats) { return (floats + kLine - 1) / kLine * kLine; }

// Strips: maps below kNearBytes stay in the caches anyway; a strip's part of the largest map; what a band may hold of all
// the maps of a stage; the share of outputs that neighbouring bands may compute twice.
constexpr std::size_t kNearBytes = 1 << 20, kStripBytes = 64 << 10, kRingBytes = 4 << 20;
constexpr double kMostRepeated = 0.05;

std::size_t map_floats(const TensorDesc& map) { return static_cast<std::size_t>(map.tiles() * map.tile * map.c); }

class Stopwatch {
public:
    explicit Stopwatch(bool on) : on_(on) { restart(); }
    void restart() {
        if (on_) start_ = std::chrono::steady_clock::now();
    }
    double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }

private:
    bool on_;
    std::chrono::steady_clock::time_point start_;
};

}  // namespace

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
    if (residual != -1)
        require(tensor(residual).same_shape(out), "expected a residual of the output's shape");
    steps_.push_back({Kind::conv, input, residual, output, added_++, std::move(weights), params, tuning, nullptr});
}

void Plan::add_other(Kind kind, OtherParams params, int input, int residual, int output) {
    require(!final_, "expected a plan that is not final yet");
    tensor(input);
    tensor(output);
    if (residual != -1) tensor(residual);
    require(input != output && residual != output, "expected an output apart from the input");
    steps_.push_back({kind, input, residual, output, added_++, nullptr, {}, {}, nullptr, std::move(params)});
}

void Plan::add_avg_pool2x2(int input, int output) { add_other(Kind::pool, {}, input, -1, output); }

void Plan::add_atrous_pool2x2(const AtrousPoolParams& params, int input, int output) {
    add_other(Kind::atrous_pool, params, input, -1, output);
}

void Plan::add_layer_norm(LayerNormParams params, int input, int output) {
    add_other(Kind::layer_norm, std::move(params), input, -1, output);
}

void Plan::add_attention(const AttentionParams& params, int input, int queries, int output) {
    add_other(Kind::attention, params, input, queries, output);
}

void Plan::add_tokens(TokensParams params, int input, int output) {
    add_other(Kind::tokens, std::move(params), input, -1, output);
}

void Plan::add_crop(CropParams params, int input, int output) { add_other(Kind::crop, params, input, -1, output); }

void Plan::check_order() const {
    std::vector<bool> written(tensors_.size(), false);
    for (const int id : inputs_) {
        tensor(id);
        written[id] = true;
    }
    for (const PlanStep& step : steps_) {
        require(written[step.input] && (step.residual < 0 || written[step.residual]),
                "expected every step to read tensors that are inputs or written before");
        require(!written[step.output], "expected every tensor to be written once");
        written[step.output] = true;
    }
    for (const int id : outputs_) {
        tensor(id);
        require(written[id] && std::find(inputs_.begin(), inputs_.end(), id) == inputs_.end(),
                "expected outputs that a step writes");
    }
}

void Plan::build_steps(int threads) {
    for (PlanStep& s : steps_) {
        const TensorDesc &input = tensors_[s.input], &output = tensors_[s.output];
        switch (s.kind) {
            case Kind::conv: s.step = build_conv(s, threads); break;
            case Kind::pool: s.step = std::make_unique<const PoolStep>(input, output); break;
            case Kind::atrous_pool:
                s.step = std::make_unique<const AtrousPoolStep>(std::get<AtrousPoolParams>(s.other), input, output);
                break;
            case Kind::copy: s.step = std::make_unique<const CopyStep>(input, output); break;
            case Kind::layer_norm:
                s.step = std::make_unique<const LayerNormStep>(std::get<LayerNormParams>(s.other), input, output);
                break;
            case Kind::attention:
                s.step = std::make_unique<const AttentionStep>(std::get<AttentionParams>(s.other), input,
                                                               s.residual < 0 ? input : tensors_[s.residual], output);
                break;
            case Kind::tokens:
                s.step = std::make_unique<const TokensStep>(std::get<TokensParams>(s.other), input, output);
                break;
            case Kind::crop:
                s.step = std::make_unique<const CropStep>(std::get<CropParams>(s.other), input, output);
                break;
        }
    }
}

std::unique_ptr<const Step> Plan::build_conv(const PlanStep& s, int threads) const {
    const TensorDesc &input = tensors_[s.input], &output = tensors_[s.output];
    if (DepthwiseStep::fits(*s.weights, s.params))
        return std::make_unique<const DepthwiseStep>(s.weights, s.params, input, output);
    if (s.residual < 0 && steps_.size() > 1 && input.pixel_major() && output.pixel_major() &&
        WinogradStep::fits(*s.weights, s.params))
        return std::make_unique<const WinogradStep>(s.weights, s.params, input, output);
    if (s.residual < 0 && steps_.size() > 1 && output.pixel_major() && DenseStep::fits(*s.weights, s.params))
        return std::make_unique<const DenseStep>(s.weights, s.params, input, output);
    return std::make_unique<const ConvStep>(s.weights, s.params, input, output, s.tuning, threads);
}

// Maps that only the steps [first, last) touch.
std::vector<bool> Plan::maps_within(int first, int last) const {
    std::vector<bool> within(tensors_.size(), true);
    for (std::size_t id = 0; id < tensors_.size(); ++id) within[id] = !is_outside(static_cast<int>(id));
    for (int s = 0; s < static_cast<int>(steps_.size()); ++s)
        if (s < first || s >= last)
            for (const int id : {steps_[s].input, steps_[s].residual, steps_[s].output})
                if (id >= 0) within[id] = false;
    return within;
}

// The steps after which at most one map waits to be read: the ends of blocks.
std::vector<int> Plan::block_ends() const {
    std::vector<int> last_read(tensors_.size(), -1);
    for (int s = 0; s < static_cast<int>(steps_.size()); ++s) {
        last_read[steps_[s].input] = s;
        if (steps_[s].residual >= 0) last_read[steps_[s].residual] = s;
    }
    std::vector<int> ends;
    for (int s = 0; s < static_cast<int>(steps_.size()); ++s) {
        int waiting = 0;
        for (int written = 0; written <= s; ++written)
            if (last_read[steps_[written].output] > s) ++waiting;
        if (waiting <= 1) ends.push_back(s + 1);
    }
    return ends;
}

// Steps [first, last) as strips, or a stage without any where they do not pay.
Plan::Stage Plan::strip_stage(int first, int last, int threads) const {
    Stage stage{first, last, {}, {}, 0};
    std::vector<GroupStep> group;
    for (int s = first; s < last; ++s)
        group.push_back({steps_[s].step.get(), steps_[s].input, steps_[s].residual, steps_[s].output});
    if (!std::all_of(group.begin(), group.end(), [](const GroupStep& g) { return g.step->local(); })) return stage;
    const std::vector<bool> inner = maps_within(first, last);
    std::size_t largest = 0;
    for (const GroupStep& g : group)
        if (inner[g.output]) largest = std::max(largest, map_floats(tensors_[g.output]) * sizeof(float));
    if (largest < kNearBytes) return stage;
    const auto strips = static_cast<int>(largest / kStripBytes / static_cast<std::size_t>(threads)) + 1;
    StripSchedule schedule = schedule_strips(group, tensors_, inner, threads, strips);
    std::map<int, std::size_t> places;
    std::size_t floats = 0;
    for (const auto& [id, slots] : schedule.slots) {
        places[id] = floats;
        floats += whole_lines(static_cast<std::size_t>(slots * tensors_[id].c * tensors_[id].tile));
    }
    if (floats * sizeof(float) > kRingBytes || schedule.repeated > kMostRepeated) return stage;
    stage.strips = std::move(schedule);
    stage.places = std::move(places);
    stage.band_floats = floats;
    return stage;
}

// Whole blocks run in strips for as long as their maps fit in the cache together; the others step by step.
void Plan::make_stages(int threads) {
    const std::vector<int> ends = block_ends();
    int first = 0;
    while (first < static_cast<int>(steps_.size())) {
        Stage best{first, first + 1, {}, {}, 0};
        for (const int end : ends) {
            if (end <= first + 1) continue;
            Stage longer = strip_stage(first, end, threads);
            if (longer.strips.bands.empty()) break;
            best = std::move(longer);
        }
        first = best.last;
        stages_.push_back(std::move(best));
    }
}

void Plan::finalize(const std::vector<int>& inputs, const std::vector<int>& outputs, int threads) {
    require(!final_, "expected a plan that is not final yet");
    inputs_ = inputs;
    outputs_ = outputs;
    check_order();
    copy_outside_maps();
    choose_tiles();
    build_steps(std::max(1, threads));
    make_stages(std::max(1, threads));
    place_maps();
    final_ = true;
}

// Maps that stages share lie in the arena; those of strips have places of their own.
void Plan::place_maps() {
    std::vector<Life> lives(tensors_.size());
    for (int i = 0; i < static_cast<int>(stages_.size()); ++i)
        for (int s = stages_[i].first; s < stages_[i].last; ++s)
            for (const int id : {steps_[s].input, steps_[s].residual, steps_[s].output}) {
                if (id < 0 || is_outside(id) || stages_[i].places.contains(id)) continue;
                if (lives[id].born < 0) lives[id].born = i;
                lives[id].dead = i;
                lives[id].floats = whole_lines(map_floats(tensors_[id]));
            }
    arena_floats_ = place_lives(lives);
    for (const Life& life : lives) {
        placed_.push_back(life.born >= 0);
        places_.push_back(life.place);
    }
}

// Of the stage that needs most, for all its bands.
std::size_t Plan::band_floats() const {
    std::size_t most = 0;
    for (const Stage& stage : stages_) most = std::max(most, stage.band_floats * stage.strips.bands.size());
    return most;
}

std::size_t Plan::arena_bytes() const { return (arena_floats_ + band_floats()) * sizeof(float); }

void Plan::run(const float* const* inputs, float* const* outputs, int threads, double* seconds) const {
    require(final_, "expected a final plan");
    // Concurrent runs take memory each; the pool hands the memory of finished runs on.
    const std::size_t floats = arena_floats_ + band_floats();
    const Arena arena(floats == 0 ? nullptr : take_buffer(floats * sizeof(float)));
    float* memory = static_cast<float*>(arena.get());

    std::vector<Map> maps(tensors_.size());
    const auto put = [&](int id, float* data) { maps[id] = Map(tensors_[id], data, tensors_[id].tiles()); };
    // Steps never write to inputs: finalize refuses a step whose output is written already.
    for (std::size_t i = 0; i < inputs_.size(); ++i) put(inputs_[i], const_cast<float*>(inputs[i]));
    for (std::size_t i = 0; i < outputs_.size(); ++i) put(outputs_[i], outputs[i]);
    for (std::size_t id = 0; id < tensors_.size(); ++id)
        if (placed_[id]) put(static_cast<int>(id), memory + places_[id]);
    if (seconds != nullptr) std::fill(seconds, seconds + added_, 0.0);
    for (const Stage& stage : stages_) {
        if (stage.strips.bands.empty())
            run_alone(stage, maps, threads, seconds);
        else
            run_strips(stage, maps, memory + arena_floats_, threads, seconds);
    }
}

void Plan::run_alone(const Stage& stage, const std::vector<Map>& maps, int threads, double* seconds) const {
    const PlanStep& s = steps_[stage.first];
    const StepMaps mine{maps[s.input], s.residual < 0 ? Map() : maps[s.residual], maps[s.output]};
    const int parts = s.step->parts();
    const Stopwatch watch(seconds != nullptr);
    parallel_for(s.step->units() * parts, threads, [&](long i) { s.step->run(i / parts, static_cast<int>(i % parts), mine); });
    if (seconds != nullptr) seconds[s.added] += watch.seconds();
}

void Plan::run_strips(const Stage& stage, const std::vector<Map>& maps, float* memory, int threads, double* seconds) const {
    std::mutex adding;
    parallel_for(static_cast<long>(stage.strips.bands.size()), threads, [&](long band) {
        std::vector<Map> mine = maps;
        for (const auto& [id, slots] : stage.strips.slots)
            mine[id] = Map(tensors_[id], memory + static_cast<std::size_t>(band) * stage.band_floats + stage.places.at(id), slots);
        std::vector<double> spent(added_, 0.0);
        Stopwatch watch(seconds != nullptr);
        for (const StripRun& run : stage.strips.bands[band]) {
            const PlanStep& s = steps_[stage.first + run.step];
            const StepMaps step_maps{mine[s.input], s.residual < 0 ? Map() : mine[s.residual], mine[s.output]};
            const int parts = s.step->parts();
            watch.restart();
            for (long unit = run.begin; unit < run.end; ++unit)
                for (int part = 0; part < parts; ++part) s.step->run(unit, part, step_maps);
            if (seconds != nullptr) spent[s.added] += watch.seconds();
        }
        if (seconds == nullptr) return;
        const std::lock_guard<std::mutex> lock(adding);
        for (int i = 0; i < added_; ++i) seconds[i] += spent[i];
    });
}

PlanStepInfo Plan::info(int run_step) const {
    require(final_ && run_step >= 0 && run_step < run_steps(), "expected a step of a final plan");
    const PlanStep& s = steps_[run_step];
    PlanStepInfo info{s.added, -1, s.step->backend(), tensors_[s.output], s.weights ? s.weights->density() : 1.0, nullptr};
    int groups = 0;
    for (const Stage& stage : stages_) {
        if (stage.strips.bands.empty()) continue;
        if (run_step >= stage.first && run_step < stage.last) info.strip_group = groups;
        ++groups;
    }
    if (const auto* conv = dynamic_cast<const ConvStep*>(s.step.get())) info.tiling = &conv->tiling();
    return info;
}

}  // namespace sovs
