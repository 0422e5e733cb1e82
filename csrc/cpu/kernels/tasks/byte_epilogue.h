// How the sums of int8 kernels become bytes of the output's map.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sovs {

// How sums become numbers of the output's map: float(sum) * scale + offset [+ float(residual) * residual_scale], each
// operation rounded; then at most `most`, rounded half to even, from 0 to 255 and at least `least`.
struct ByteEpilogue {
    const float *scale, *offset;   // (channels padded to whole block rows)
    const std::uint8_t* residual;  // as `out`, or null
    float residual_scale;
    float most;
    std::uint8_t least;
    std::uint8_t* out;      // pixel 0 of channel 0
    std::ptrdiff_t stride;  // bytes between channels of `out` and of `residual`
};

}  // namespace sovs
