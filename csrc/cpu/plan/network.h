// The steps of a plan and the maps that they join, before and after it is settled how the maps lie.
#pragma once
#include <memory>
#include <vector>

#include "steps/operation.h"

namespace sovs {

// Maps go by their numbers.
struct PlanStep {
    std::shared_ptr<const Operation> operation;
    std::vector<int> inputs;
    int output;
    int record;                                  // number of the program's step; of a copy, of the step that it serves
    std::unique_ptr<const Step> step = nullptr;  // once its maps are settled

    // Of the map that is added in the output's own tiles; -1 for none.
    int added() const { return operation->added() < 0 ? -1 : inputs[static_cast<std::size_t>(operation->added())]; }
};

struct Network {
    std::vector<TensorDesc> maps;
    std::vector<PlanStep> steps;
    std::vector<int> inputs, outputs;  // the caller's; every other map lives inside the plan

    bool is_outside(int map) const;
    StepPlace place_of(const PlanStep& step, bool free_maps) const;
};

}  // namespace sovs
