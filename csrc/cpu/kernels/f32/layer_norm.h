// LayerNorm over channels with pixels in the vector lanes: no sum runs across lanes.
#pragma once
#include <cassert>
#include <cstdint>

#include "kernels/tasks/norm.h"
#include "kernels/vec/vec_math.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// Sums of term(channel) over all channels, in short sums of their own: long chains of fp32 additions lose digits. Some short
// sums grow side by side, so that no addition waits for the one before it.
template <typename Term>
inline Vec sum_over(std::int32_t channels, Term term) {
    constexpr std::int32_t kShort = 16;
    constexpr int kBeside = 4;
    Vec total = Vec::zero();
    std::int32_t begin = 0;
    for (; begin + kBeside * kShort <= channels; begin += kBeside * kShort) {
        Vec sums[kBeside];
        SOVS_UNROLL
        for (int i = 0; i < kBeside; ++i) sums[i] = term(begin + i * kShort);
        for (std::int32_t c = begin + 1; c < begin + kShort; ++c) SOVS_UNROLL
        for (int i = 0; i < kBeside; ++i) sums[i] = sums[i] + term(c + i * kShort);
        SOVS_UNROLL
        for (int i = 0; i < kBeside; ++i) total = total + sums[i];
    }
    for (; begin < channels; begin += kShort) {
        const std::int32_t end = begin + kShort < channels ? begin + kShort : channels;
        Vec sum = term(begin);
        for (std::int32_t c = begin + 1; c < end; ++c) sum = sum + term(c);
        total = total + sum;
    }
    return total;
}

// Of all channels, whole vectors of pixels from `first` on.
template <typename Normal>
inline void store_quantized(const NormTask& t, std::int32_t first, Normal normal) {
    const Vec inverse = constant(t.inverse_scale), zero_point = constant(t.zero_point);
    const Vec least = Vec::zero(), most = constant(255.0f);
    std::uint8_t* out = t.bytes + first;
    for (std::int32_t c = 0; c < t.channels; ++c, out += t.out_stride)
        Vec::max(least, Vec::min(most, normal(c) * inverse + zero_point)).store_bytes(out);
}

inline void normalise(const NormTask& t, std::int32_t first, int lanes) {
    const float* source = t.source + first;
    const auto pixels = [&](std::int32_t c) {
        const float* at = source + c * t.source_stride;
        return lanes == Vec::kWidth ? Vec::load(at) : Vec::load_first(at, lanes);
    };
    const Vec count = constant(static_cast<float>(t.channels));
    const Vec mean = sum_over(t.channels, pixels) / count;
    const Vec variance = sum_over(t.channels,
                                  [&](std::int32_t c) {
                                      const Vec off = pixels(c) - mean;
                                      return off * off;
                                  }) /
                         count;
    const Vec scale = constant(1.0f) / Vec::sqrt(variance + constant(t.eps));
    const auto normal = [&](std::int32_t c) {
        return Vec::fma((pixels(c) - mean) * scale, Vec::broadcast(t.gamma + c), Vec::broadcast(t.beta + c));
    };
    if (t.bytes != nullptr) return store_quantized(t, first, normal);
    float* out = t.out + first;
    for (std::int32_t c = 0; c < t.channels; ++c, out += t.out_stride) {
        if (lanes == Vec::kWidth)
            normal(c).store(out);
        else
            normal(c).store_first(out, lanes);
    }
}

inline void layer_norm(const NormTask& t) {
    assert(t.channels > 0 && t.pixels > 0);
    constexpr int W = Vec::kWidth;
    for (std::int32_t first = 0; first < t.pixels; first += W)
        normalise(t, first, t.pixels - first < W ? t.pixels - first : W);
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
