// The steps of a program for maps of one size, run as one call.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "base/buffer_pool.h"
#include "base/stage_work.h"
#include "plan/arena.h"
#include "plan/stages.h"

namespace sovs {

// What runs as one step of a plan.
struct PlanStepInfo {
    int record;       // number of the program's step; of a copy, of the step it serves
    int strip_group;  // number of the group of steps that runs strip by strip; -1 for a step that runs alone
    const char* backend;
    TensorDesc output;
    double density;        // of its weights; 1 for none
    const Tiling* tiling;  // null where the step has none
};

class Plan {
public:
    // The network's steps read maps that are inputs or were written before, and write each map once. Throws
    // InvalidArgument where a step has no kernel for its maps.
    Plan(Network network, int threads);

    // In the order of the network's inputs and outputs. seconds: null, or for each record the time spent in it, summed
    // over threads.
    void run(const void* const* inputs, void* const* outputs, int threads, double* seconds = nullptr) const;

    std::size_t input_count() const { return network_.inputs.size(); }
    std::size_t output_count() const { return network_.outputs.size(); }
    const TensorDesc& input(std::size_t number) const { return network_.maps[network_.inputs[number]]; }
    const TensorDesc& output(std::size_t number) const { return network_.maps[network_.outputs[number]]; }
    // Steps in the order in which they run, copies at the plan's edge among them.
    int run_steps() const { return static_cast<int>(network_.steps.size()); }
    PlanStepInfo info(int run_step) const;
    // Activations inside the plan during one run on the threads that it was made for.
    std::size_t arena_bytes() const;

private:
    // Memory of the maps that live inside the plan; in huge pages, since steps walk over many channels at once.
    struct GiveBack {
        void operator()(void* buffer) const { give_buffer(buffer); }
    };
    using Arena = std::unique_ptr<void, GiveBack>;

    void place_maps();
    std::vector<int> hosts_of(std::vector<Life>& lives) const;
    std::size_t arena_bytes_for(int threads) const;
    StepMaps maps_of(const PlanStep& step, const std::vector<Map>& maps) const;
    // A thread's memory for the maps of bands, and what it holds: those of the stage's bands up to this one, the last
    // of them run here.
    struct Ring {
        std::byte* memory;
        const Stage* stage;
        long bands;
    };

    void run_timed(const std::vector<Map>& maps, std::vector<Ring>& rings, int threads, double* seconds) const;
    void run_unit(const PlanStep& step, long unit, const std::vector<Map>& maps) const;
    // seconds: null, or where the time of each record is added.
    void run_band(const Stage& stage, long number, const std::vector<Map>& maps, Ring& ring, double* seconds) const;

    Network network_;
    int threads_;
    std::vector<Stage> stages_;
    Stages work_;  // their units, and what those wait for
    int records_;
    std::vector<std::size_t> places_;  // of each inner map that stages share, in bytes
    std::vector<bool> placed_;
    std::size_t arena_bytes_ = 0;
    std::size_t ring_bytes_ = 0;  // that a thread needs for the maps of a band, whichever it is
};

}  // namespace sovs
