// How pixels move between maps and what the kernels of rows work on.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/tasks/epilogue.h"

namespace sovs {

// A run of pixels of some channels: panel[k * panel_channel_stride + p] = pixel p of channel k.
struct PackTask {
    const float* source;                          // pixel 0 of the first channel
    std::ptrdiff_t channel_stride, pixel_stride;  // floats
    std::int32_t channels, pixels;
    float* panel;
    std::ptrdiff_t panel_channel_stride;  // floats
};

// Final sums (channels, pixels) to a run of output pixels, whose channels or pixels lie side by side.
struct StoreTask {
    const float* sums;
    std::ptrdiff_t sums_stride;  // floats between channels
    std::int32_t channels, pixels;
    Epilogue epilogue;
};

}  // namespace sovs
