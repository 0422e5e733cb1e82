// The transforms of Winograd's F(2x2, 3x3).
#pragma once
#include <cstddef>
#include <cstdint>

namespace sovs {

// The input transform of Winograd's F(2x2, 3x3) for one patch of 4x4 pixels, written to 16 points `point_stride` apart.
struct PatchTask {
    const float* rows[4];         // pixel 0 of the patch, channel 0, in each of its rows; null outside the image
    std::ptrdiff_t pixel_stride;  // floats
    std::int32_t x0, x1;          // columns of the patch inside the image
    std::int32_t channels;
    float* points;
    std::ptrdiff_t point_stride;
};

// Its output transform: 16 points to 2x2 pixels, of which `cols` columns exist.
struct QuadTask {
    const float* points;
    std::ptrdiff_t point_stride;
    const float* bias;
    float* rows[2];               // pixel 0 of each output row; null outside the image
    std::ptrdiff_t pixel_stride;  // floats
    std::int32_t cols, channels;
    bool relu;
};

}  // namespace sovs
