// What GroupNorm makes of pixels once it knows their group's moments.
#pragma once
#include <cassert>
#include <cstdint>

#include "kernels/tasks/norm.h"
#include "kernels/vec/vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

template <bool kAdds>
inline void norm_pixels(const NormRowTask& t) {
    constexpr int W = Vec::kWidth;
    const Vec mean = Vec::broadcast(&t.mean), scale = Vec::broadcast(&t.scale), shift = Vec::broadcast(&t.shift),
              weight = Vec::broadcast(&t.weight);
    const auto made = [&](std::int64_t i, int lanes) {
        const auto load = [&](const float* p) { return lanes == W ? Vec::load(p + i) : Vec::load_first(p + i, lanes); };
        Vec y = Vec::fma(load(t.x) - mean, scale, shift);
        if constexpr (kAdds) {
            const Vec upper = load(t.upper);
            y = y + Vec::fma(weight, load(t.lower) - upper, upper);
        }
        return t.relu ? Vec::relu(y) : y;
    };
    std::int64_t i = 0;
    for (; i + W <= t.pixels; i += W) made(i, W).store(t.x + i);
    if (i < t.pixels) made(i, static_cast<int>(t.pixels - i)).store_first(t.x + i, static_cast<int>(t.pixels - i));
}

inline void norm_row(const NormRowTask& t) {
    assert(t.pixels > 0 && t.x != nullptr);
    if (t.upper == nullptr)
        norm_pixels<false>(t);
    else
        norm_pixels<true>(t);
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
