// Runs a plan on buffers of the C API.
#pragma once
#include "plan/plan.h"
#include "sparse_ovs.h"

namespace sovs {

// Throws InvalidArgument where a buffer is none for its map. seconds: as for Plan::run.
void run(const Plan& plan, const sovs_buffer* inputs, std::int32_t input_count, const sovs_buffer* outputs,
         std::int32_t output_count, std::int32_t threads, double* seconds);

}  // namespace sovs
