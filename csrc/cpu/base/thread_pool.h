// Parallel regions on the library's own threads, or on those of the host program's OpenMP runtime.
#pragma once
#include <functional>

#include "base/stage_work.h"

namespace sovs {

// Calls body(unit) for every unit in [0, units), each exactly once, on at most `threads` threads, the caller's
// among them. Units are handed out one at a time, in order. Where another caller holds the pool, this one runs
// its units alone: concurrent callers never wait for each other. The first exception thrown is rethrown here.
void parallel_for(long units, int threads, const std::function<void(long)>& body);

// The same for several stages in a row: calls body(stage, unit, member), none before what it waits for has ended. Members are
// numbers below `threads`, each of one thread. Nobody waits for a thread that comes late or is held up between units: what
// it could have done the others do, so that a busy neighbour on its core costs its share alone.
void parallel_stages(const Stages& stages, int threads, const std::function<void(long, long, int)>& body);

// GOMP_parallel of an OpenMP runtime: runs fn(data) on a team of `threads` threads and returns when all have.
using OpenMPParallel = void (*)(void (*fn)(void*), void* data, unsigned threads, unsigned flags);

// Runs regions on the threads of a runtime that the process uses anyway; null goes back to the library's own. Two
// runtimes whose workers spin between regions would take the cores from each other.
void use_openmp(OpenMPParallel parallel);

}  // namespace sovs
