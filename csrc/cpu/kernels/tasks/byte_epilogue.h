// How the sums of int8 kernels become numbers of the output's map.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/tasks/activation.h"

namespace sovs {

// How sums become numbers of the output's map. Bytes whose activation is a maximum: float(sum) * scale + offset [+
// float(residual) * residual_scale], each operation rounded; then at most `most`, rounded half to even, from 0 to 255 and at
// least `least`. Of others scale and offset give what the map's numbers stand for, and the activation comes then: floats
// stay as they are, bytes are that * inverse_scale + zero_point, rounded and cut as above.
struct ByteEpilogue {
    const float *scale, *offset;   // (channels padded to whole block rows)
    const std::uint8_t* residual;  // as `out`, or null
    float residual_scale;
    float most;
    std::uint8_t least;
    std::uint8_t* out;      // pixel 0 of channel 0; null where floats are made
    std::ptrdiff_t stride;  // numbers between channels of the output and of what is added to it
    const float* float_residual;
    float* floats;          // pixel 0 of channel 0, or null
    Activation activation;  // beside those that `most` and `least` are
    float inverse_scale, zero_point;

    bool is_plain() const { return floats == nullptr && activation == Activation::none; }
};

}  // namespace sovs
