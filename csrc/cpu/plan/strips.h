// Depth-first order for a group of steps: strips of rows go through all of them while their maps are in the cache.
#pragma once
#include <map>
#include <vector>

#include "steps/step.h"

namespace sovs {

// A step of a group and the maps it joins, which go by their numbers in the plan.
struct GroupStep {
    const Step* step;
    std::vector<int> inputs;
    int output;
};

// Units [begin, end) of the group's step `step`.
struct StripRun {
    int step;
    long begin, end;
};

struct StripSchedule {
    // Each band is run by one thread, in order, on maps of its own: neighbours compute the rows they share twice.
    std::vector<std::vector<StripRun>> bands;
    // Of each map inside the group: tiles that a band must keep at a time.
    std::map<int, std::int64_t> slots;
    // Numbers that neighbouring bands both compute, as a share of all.
    double repeated = 0.0;
};

// `tensors` are the plan's; `inner` the maps that only this group touches. Every other map that a step writes must not
// be read inside the group.
StripSchedule schedule_strips(const std::vector<GroupStep>& steps, const std::vector<TensorDesc>& tensors,
                              const std::vector<bool>& inner, int bands, int strips_a_band);

}  // namespace sovs
