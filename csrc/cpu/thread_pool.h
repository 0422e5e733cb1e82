// The library's own threads: workers spin briefly for the next region, then park.
#pragma once
#include <functional>

namespace sovs {

// Calls body(unit) for every unit in [0, units), each exactly once, on at most `threads` threads, the caller's
// among them. Units are handed out one at a time, in order. Where another caller holds the pool, this one runs
// its units alone: concurrent callers never wait for each other. The first exception thrown is rethrown here.
void parallel_for(long units, int threads, const std::function<void(long)>& body);

}  // namespace sovs
