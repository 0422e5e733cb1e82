// What the int8 kernels beside those of rows compute: panels, types of numbers, averages.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sovs {

// The columns of one channel: panel[t * pixels + p] = line[shifts[t] + p] where masks[t * pixels + p] is 255, `zero` where it
// is 0.
struct TapsTask {
    const std::uint8_t* line;  // readable for the shifts plus `pixels`
    const std::int32_t* shifts;
    const std::uint8_t* masks;
    std::int32_t taps, pixels;  // pixels: whole lines
    std::uint8_t zero;
    std::uint8_t* panel;
};

// The same for taps that jump: panel[t * pixels + p] = line[places[t * pixels + p]], `zero` where the place is negative.
struct PlacesTask {
    const std::uint8_t* line;
    const std::int32_t* places;
    std::int32_t count;  // of all taps
    std::uint8_t zero;
    std::uint8_t* panel;
};

// Floats to u8: x / scale + zero_point in two rounded operations, rounded half to even, from 0 to 255; NaN gives 255.
struct QuantizeTask {
    const float* from;
    std::int64_t count;
    float inverse_scale, zero_point;
    std::uint8_t* to;
};

// u8 to floats: (q - zero_point) * scale.
struct DequantizeTask {
    const std::uint8_t* from;
    std::int64_t count;
    float scale;
    std::int32_t zero_point;
    float* to;
};

}  // namespace sovs
