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

// What a thread runs for one band, in order, on maps of its own.
struct Band {
    std::vector<StripRun> fresh;   // whatever it did before: rows that the band before shares are computed once more
    std::vector<StripRun> onward;  // where its last band was the one before this
};

struct StripSchedule {
    // Threads take bands as they come free, most of them one after the other.
    std::vector<Band> bands;
    // Of each map inside the group: tiles that a thread must keep at a time.
    std::map<int, std::int64_t> slots;
    // Numbers that are computed twice where every thread runs as many bands in a row, as a share of all.
    double repeated = 0.0;
};

// `tensors` are the plan's; `inner` the maps that only this group touches. Every other map that a step writes must not
// be read inside the group. bands: a multiple of `threads`.
StripSchedule schedule_strips(const std::vector<GroupStep>& steps, const std::vector<TensorDesc>& tensors,
                              const std::vector<bool>& inner, int bands, int strips_a_band, int threads);

}  // namespace sovs
