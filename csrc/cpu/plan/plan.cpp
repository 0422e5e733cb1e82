#include "plan/plan.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <numeric>
#include <string>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/bf16_table.h"
#include "plan/layout.h"
#include "plan/needs.h"

namespace sovs {
namespace {

// Stages that may run at a time on several threads: enough to do for as long as another one is put aside on a busy core.
constexpr int kOpenStages = 4;

class Stopwatch {
public:
    double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void require_kernels(const Network& network) {
    for (const PlanStep& s : network.steps) {
        std::vector<DType> types;
        for (const int input : s.inputs) types.push_back(network.maps[input].dtype);
        const DType made = network.maps[s.output].dtype;
        if (s.operation->takes(types, made)) {
            types.push_back(made);
            if (std::find(types.begin(), types.end(), DType::bf16) != types.end()) require_bf16_kernels();
            continue;
        }
        std::string given;
        for (const DType type : types) given += std::string(name_of(type)) + " ";
        throw InvalidArgument(std::string("expected maps of types that there is a kernel of ") + s.operation->name() +
                              " for, got " + given + "-> " + name_of(made));
    }
}

// Callers hold floats.
void require_floats_outside(const Network& network) {
    for (int map = 0; map < static_cast<int>(network.maps.size()); ++map)
        if (network.is_outside(map) && network.maps[map].dtype != DType::f32)
            throw InvalidArgument(std::string("expected f32 of a program's inputs and outputs, got ") +
                                  name_of(network.maps[map].dtype));
}

void make_steps(Network& network, int threads) {
    for (PlanStep& s : network.steps) {
        s.step = s.operation->make(network.place_of(s, false), threads);
    }
}

}  // namespace

Plan::Plan(Network network, int threads) : network_(std::move(network)), threads_(std::max(1, threads)) {
    records_ = static_cast<int>(network_.steps.size());
    for (int i = 0; i < records_; ++i) network_.steps[i].record = i;
    require_kernels(network_);  // before there are copies: errors name what records say
    require_floats_outside(network_);
    copy_outside_maps(network_);
    require_kernels(network_);
    choose_tiles(network_);
    make_steps(network_, threads_);
    stages_ = make_stages(network_, threads_);
    work_ = stages_with_needs(network_, stages_, threads_ > 1 ? kOpenStages : 1);
    place_maps();
}

// Maps that stages share lie in the arena; those of strips have places of their own.
void Plan::place_maps() {
    std::vector<Life> lives(network_.maps.size());
    for (int i = 0; i < static_cast<int>(stages_.size()); ++i)
        for (int s = stages_[i].first; s < stages_[i].last; ++s) {
            std::vector<int> touched = network_.steps[s].inputs;
            touched.push_back(network_.steps[s].output);
            for (const int map : touched) {
                if (network_.is_outside(map) || stages_[i].places.contains(map)) continue;
                if (lives[map].born < 0) lives[map].born = i;
                lives[map].dead = i + work_.open - 1;  // later stages run while this one does
                lives[map].bytes = whole_lines(network_.maps[map].bytes(network_.maps[map].tiles()));
            }
        }
    const std::vector<int> hosts = hosts_of(lives);
    arena_bytes_ = place_lives(lives);
    for (const Stage& stage : stages_) ring_bytes_ = std::max(ring_bytes_, stage.band_bytes);
    for (const int host : hosts) {
        placed_.push_back(lives[host].born >= 0);
        places_.push_back(lives[host].place);
    }
}

// By map the one whose memory it lies in: itself, or what a step adds to it and nothing reads any more. Half the lines are
// then touched. Not where stages overlap: others may still read what this one would overwrite.
std::vector<int> Plan::hosts_of(std::vector<Life>& lives) const {
    std::vector<int> hosts(lives.size());
    std::iota(hosts.begin(), hosts.end(), 0);
    if (work_.open > 1) return hosts;
    for (int i = 0; i < static_cast<int>(stages_.size()); ++i) {
        const PlanStep& s = network_.steps[stages_[i].first];
        const int added = s.added();
        if (!stages_[i].strips.bands.empty() || added < 0 || !s.operation->adds_in_place()) continue;
        const bool last_reader = lives[added].dead == i && std::count(s.inputs.begin(), s.inputs.end(), added) == 1;
        if (!last_reader || lives[s.output].born != i || lives[added].bytes != lives[s.output].bytes) continue;
        hosts[s.output] = hosts[added];
        lives[hosts[added]].dead = lives[s.output].dead;
        lives[s.output].born = -1;
    }
    return hosts;
}

std::size_t Plan::arena_bytes() const { return arena_bytes_for(threads_); }

// A band's rings are its thread's, which takes one band after the other.
std::size_t Plan::arena_bytes_for(int threads) const {
    return arena_bytes_ + ring_bytes_ * static_cast<std::size_t>(threads);
}

void Plan::run(const void* const* inputs, void* const* outputs, int threads, double* seconds) const {
    // Concurrent runs take memory each; the pool hands the memory of finished runs on.
    const std::size_t bytes = arena_bytes_for(std::max(1, threads));
    const Arena arena(bytes == 0 ? nullptr : take_buffer(bytes));
    auto* memory = static_cast<std::byte*>(arena.get());

    std::vector<Map> maps(network_.maps.size());
    const auto put = [&](int map, void* data) {
        maps[map] = Map(network_.maps[map], data, network_.maps[map].tiles());
    };
    // Steps never write to inputs: a program's outputs are what steps make.
    for (std::size_t i = 0; i < network_.inputs.size(); ++i) put(network_.inputs[i], const_cast<void*>(inputs[i]));
    for (std::size_t i = 0; i < network_.outputs.size(); ++i) put(network_.outputs[i], outputs[i]);
    for (std::size_t map = 0; map < network_.maps.size(); ++map)
        if (placed_[map]) put(static_cast<int>(map), memory + places_[map]);
    std::vector<Ring> rings;
    for (int member = 0; member < std::max(1, threads); ++member)
        rings.push_back({memory + arena_bytes_ + static_cast<std::size_t>(member) * ring_bytes_, nullptr, 0});
    if (seconds != nullptr) return run_timed(maps, rings, threads, seconds);
    parallel_stages(work_, threads, [&](long number, long unit, int member) {
        const Stage& stage = stages_[number];
        if (stage.strips.bands.empty())
            run_unit(network_.steps[stage.first], unit, maps);
        else
            run_band(stage, unit, maps, rings[member], nullptr);
    });
}

// Stage by stage, so that the clock tells them apart.
void Plan::run_timed(const std::vector<Map>& maps, std::vector<Ring>& rings, int threads, double* seconds) const {
    std::fill(seconds, seconds + records_, 0.0);
    std::mutex adding;
    for (std::size_t number = 0; number < stages_.size(); ++number) {
        const Stage& stage = stages_[number];
        const PlanStep& first = network_.steps[stage.first];
        const bool strips = !stage.strips.bands.empty();
        const Stopwatch watch;
        parallel_stages({{work_.units[number]}}, threads, [&](long, long unit, int member) {
            if (!strips) return run_unit(first, unit, maps);
            std::vector<double> spent(records_, 0.0);
            run_band(stage, unit, maps, rings[member], spent.data());
            const std::lock_guard<std::mutex> lock(adding);
            for (int i = 0; i < records_; ++i) seconds[i] += spent[i];
        });
        if (!strips) seconds[first.record] += watch.seconds();
    }
}

StepMaps Plan::maps_of(const PlanStep& step, const std::vector<Map>& maps) const {
    StepMaps joined{{}, maps[step.output]};
    for (std::size_t i = 0; i < step.inputs.size(); ++i) joined.inputs[i] = maps[step.inputs[i]];
    return joined;
}

void Plan::run_unit(const PlanStep& step, long unit, const std::vector<Map>& maps) const {
    const int parts = step.step->parts();
    step.step->run(unit / parts, static_cast<int>(unit % parts), maps_of(step, maps));
}

void Plan::run_band(const Stage& stage, long number, const std::vector<Map>& maps, Ring& ring, double* seconds) const {
    std::vector<Map> mine = maps;
    for (const auto& [map, slots] : stage.strips.slots)
        mine[map] = Map(network_.maps[map], ring.memory + stage.places.at(map), slots);
    const Band& band = stage.strips.bands[number];
    const bool goes_on = ring.stage == &stage && ring.bands == number;
    ring.stage = nullptr;  // unless all of the band is run
    for (const StripRun& run : goes_on ? band.onward : band.fresh) {
        const PlanStep& s = network_.steps[stage.first + run.step];
        const StepMaps step_maps = maps_of(s, mine);
        const int parts = s.step->parts();
        const Stopwatch watch;
        for (long unit = run.begin; unit < run.end; ++unit)
            for (int part = 0; part < parts; ++part) s.step->run(unit, part, step_maps);
        if (seconds != nullptr) seconds[s.record] += watch.seconds();
    }
    ring.stage = &stage;
    ring.bands = number + 1;
}

PlanStepInfo Plan::info(int run_step) const {
    require(run_step >= 0 && run_step < run_steps(), "expected the number of a step of the plan");
    const PlanStep& s = network_.steps[run_step];
    PlanStepInfo info{
        s.record, -1, s.step->backend(), network_.maps[s.output], s.operation->density(), s.step->chosen_tiling()};
    int groups = 0;
    for (const Stage& stage : stages_) {
        if (stage.strips.bands.empty()) continue;
        if (run_step >= stage.first && run_step < stage.last) info.strip_group = groups;
        ++groups;
    }
    return info;
}

}  // namespace sovs
