// What runs after what: steps whose units run in parallel, and groups of steps that run strip by strip.
#pragma once
#include <map>
#include <vector>

#include "plan/network.h"
#include "plan/strips.h"

namespace sovs {

// Steps [first, last): one step whose units run in parallel, or several that run strip by strip.
struct Stage {
    int first, last;
    StripSchedule strips;
    std::map<int, std::size_t> places;  // of its inner maps in a thread's memory, in bytes
    std::size_t band_bytes = 0;
};

// Whole blocks run in strips for as long as their maps fit in the cache together; the others step by step.
std::vector<Stage> make_stages(const Network& network, int threads);

// Bytes of a map, in whole cache lines.
std::size_t whole_lines(std::size_t bytes);

}  // namespace sovs
