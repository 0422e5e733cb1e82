// What int8 and bf16 backends ask of a layer's weights.
#pragma once
#include <cstdint>
#include <vector>

#include "weights/weights.h"

namespace sovs {

// Taps that some weight is stored at, ascending; and all that a kernel has.
std::vector<std::int32_t> used_taps(const Weights& weights);
std::vector<std::int32_t> all_taps(const WeightSizes& sizes);

// The layout of the stream to read: of weights that are held once that of a stream which is there, whatever its parts.
ByteStreamLayout shared_layout(const Weights& weights, const ByteStreamLayout& wanted);

}  // namespace sovs
