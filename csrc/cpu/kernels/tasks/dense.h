// What the dense kernel computes: output channels side by side.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sovs {

// Dense sums for a run of pixels, output channels side by side: out[p][m] = bias[m] + sum over k of
// input[k][p] * weights[k][m], where input[k][p] lies offsets[k] + p * pixel_stride floats from `panel`.
struct DenseTask {
    const float* panel;
    const std::int32_t* offsets;  // (depth,)
    std::int32_t depth, pixels;
    std::ptrdiff_t pixel_stride;  // floats
    const float* weights;         // (depth, channels padded to whole pairs of vectors)
    const float* bias;            // padded as the weights' rows, or null for zeros
    float* out;                   // pixel 0
    std::ptrdiff_t out_stride;    // floats between pixels of `out`
    std::int32_t channels;
    bool relu;
};

}  // namespace sovs
