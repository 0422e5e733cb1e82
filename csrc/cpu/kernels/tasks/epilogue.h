// What becomes of final sums on their way to a map.
#pragma once
#include <cstddef>

#include "kernels/tasks/activation.h"

namespace sovs {

// out = activation(sums + residual), at a run of pixels of some channels.
struct Epilogue {
    float* out;                                   // pixel 0 of channel 0
    const float* residual;                        // as `out`, or null
    std::ptrdiff_t channel_stride, pixel_stride;  // floats, of `out` and `residual`
    Activation activation;
};

}  // namespace sovs
