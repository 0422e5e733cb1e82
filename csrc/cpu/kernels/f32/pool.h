// Averages of 2x2 pixels. Sums run left to right, upper row first, on every ISA.
#pragma once
#include <cassert>
#include <cstdint>

#include "kernels/vec/vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

inline void pool_row(float* out, const float* upper, const float* lower, std::int64_t pixels, std::int64_t channels) {
    constexpr int W = Vec::kWidth;
    assert(pixels > 0 && channels > 0);
    const float quarter = 0.25f;
    const Vec scale = Vec::broadcast(&quarter);
    if (channels == 1) {
        std::int64_t x = 0;
        for (; x + W <= pixels; x += W) {
            const Vec sum = Vec::pair_sums(upper + 2 * x) + Vec::pair_sums(lower + 2 * x);
            (sum * scale).store(out + x);
        }
        for (; x < pixels; ++x)
            out[x] = ((upper[2 * x] + upper[2 * x + 1]) + (lower[2 * x] + lower[2 * x + 1])) * quarter;
        return;
    }
    for (std::int64_t x = 0; x < pixels; ++x) {
        const float *a = upper + 2 * x * channels, *b = lower + 2 * x * channels;
        float* to = out + x * channels;
        std::int64_t c = 0;
        for (; c + W <= channels; c += W) {
            const Vec sum =
                (Vec::load(a + c) + Vec::load(a + channels + c)) + (Vec::load(b + c) + Vec::load(b + channels + c));
            (sum * scale).store(to + c);
        }
        for (; c < channels; ++c) to[c] = ((a[c] + a[channels + c]) + (b[c] + b[channels + c])) * quarter;
    }
}

// Means of `count` floats of two rows with those `offset` later.
inline void atrous_pool_row(float* out, const float* upper, const float* lower, std::int64_t offset,
                            std::int64_t count) {
    constexpr int W = Vec::kWidth;
    const float quarter = 0.25f;
    const Vec scale = Vec::broadcast(&quarter);
    std::int64_t i = 0;
    for (; i + W <= count; i += W) {
        const Vec sum = (Vec::load(upper + i) + Vec::load(upper + offset + i)) +
                        (Vec::load(lower + i) + Vec::load(lower + offset + i));
        (sum * scale).store(out + i);
    }
    for (; i < count; ++i) out[i] = ((upper[i] + upper[offset + i]) + (lower[i] + lower[offset + i])) * quarter;
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
