// What the depthwise kernel computes: one channel, in a padded plane.
#pragma once
#include <cstdint>

namespace sovs {

// One channel of a depthwise convolution over a padded plane, pixels side by side:
// out[i] = bias + sum over t of plane[i + offsets[t]] * weights[t].
struct DepthwiseTask {
    const float* plane;           // readable for the offsets plus whole vectors
    const std::int32_t* offsets;  // floats
    const float* weights;
    std::int32_t taps;
    float bias;
    std::int64_t pixels;  // whole vectors
    float* out;
};

}  // namespace sovs
