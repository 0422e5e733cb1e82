// The forms of weights that the dense kernels read. All take float32 weights without groups.
#pragma once
#include <cstdint>

#include "base/aligned.h"
#include "weights/packed.h"

namespace sovs {

// (in_channels * taps, out_channels padded to `padded`).
AlignedBuffer<float> dense_matrix(const PackedWeights& packed, std::int64_t padded);

// That matrix of a 3x3 kernel in the 16 points of Winograd's F(2x2, 3x3): (16, in_channels, padded).
AlignedBuffer<float> winograd_points(const AlignedBuffer<float>& matrix, const WeightSizes& sizes, std::int64_t padded);

}  // namespace sovs
