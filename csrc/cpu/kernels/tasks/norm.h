// What LayerNorm, BatchNorm and GroupNorm make of pixels.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sovs {

// Normalises each pixel over its channels: y = (x - mean) / sqrt(variance + eps) * gamma + beta; as u8 y * inverse_scale +
// zero_point in two rounded operations, rounded half to even, from 0 to 255.
struct NormTask {
    const float* source;           // pixel 0 of channel 0; pixels side by side
    std::ptrdiff_t source_stride;  // floats between channels
    std::int32_t channels, pixels;
    const float *gamma, *beta;  // (channels,)
    float eps;
    float* out;  // or null
    std::ptrdiff_t out_stride;
    std::uint8_t* bytes = nullptr;  // instead: out_stride apart, and writable for whole vectors
    float inverse_scale = 1.0f, zero_point = 0.0f;
};

// One plane of a channel, for BatchNorm: out = (x - mean) * of_x + shift + grad * of_grad.
struct PlaneTask {
    const float* x;
    const float* grad;  // or null
    float* out;
    std::int64_t pixels;
    float mean, of_x, of_grad, shift;
};

// Pixels side by side, in place: x = [relu]((x - mean) * scale + shift + (1 - weight) * upper + weight * lower).
struct NormRowTask {
    float* x;
    const float *upper, *lower;  // or both null
    float weight, mean, scale, shift;
    bool relu;
    std::int64_t pixels;
};

}  // namespace sovs
