// BatchNorm of planes of pixels, in training: sums over a channel's planes, and what is made of them.
#pragma once
#include <cassert>
#include <cstdint>

#include "kernels/tasks/norm.h"
#include "kernels/vec/vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// Sums of two terms over all pixels but the rest that fills no vector: term(first pixel, first sum, second sum) adds to
// one of four pairs, and `sums` takes them up in double precision. Returns the first pixel of the rest.
template <typename Term>
inline std::int64_t add_up(std::int64_t pixels, double* sums, Term term) {
    constexpr int W = Vec::kWidth;
    Vec first[4], second[4];
    SOVS_UNROLL
    for (int k = 0; k < 4; ++k) first[k] = second[k] = Vec::zero();
    std::int64_t i = 0;
    for (; i + 4 * W <= pixels; i += 4 * W) SOVS_UNROLL
    for (int k = 0; k < 4; ++k) term(i + k * W, first[k], second[k]);
    for (; i + W <= pixels; i += W) term(i, first[0], second[0]);
    float lanes[2][W];
    ((first[0] + first[1]) + (first[2] + first[3])).store(lanes[0]);
    ((second[0] + second[1]) + (second[2] + second[3])).store(lanes[1]);
    for (int s = 0; s < 2; ++s)
        for (const float lane : lanes[s]) sums[s] += static_cast<double>(lane);
    return i;
}

inline void plane_moments(const float* x, std::int64_t pixels, float mean, double* sums) {
    const Vec centre = Vec::broadcast(&mean);
    std::int64_t i = add_up(pixels, sums, [&](std::int64_t p, Vec& first, Vec& second) {
        const Vec off = Vec::load(x + p) - centre;
        first = first + off;
        second = Vec::fma(off, off, second);
    });
    for (; i < pixels; ++i) {
        const double off = static_cast<double>(x[i] - mean);
        sums[0] += off;
        sums[1] += off * off;
    }
}

inline void plane_products(const float* x, const float* grad, std::int64_t pixels, float mean, double* sums) {
    const Vec centre = Vec::broadcast(&mean);
    std::int64_t i = add_up(pixels, sums, [&](std::int64_t p, Vec& first, Vec& second) {
        const Vec g = Vec::load(grad + p);
        first = first + g;
        second = Vec::fma(g, Vec::load(x + p) - centre, second);
    });
    for (; i < pixels; ++i) {
        sums[0] += static_cast<double>(grad[i]);
        sums[1] += static_cast<double>(grad[i]) * static_cast<double>(x[i] - mean);
    }
}

inline void plane_scale(const PlaneTask& t) {
    constexpr int W = Vec::kWidth;
    assert(t.pixels > 0 && t.x != nullptr && t.out != nullptr);
    const Vec centre = Vec::broadcast(&t.mean), of_x = Vec::broadcast(&t.of_x), of_grad = Vec::broadcast(&t.of_grad),
              shift = Vec::broadcast(&t.shift);
    const auto made = [&](std::int64_t i, int lanes) {
        const auto load = [&](const float* p) { return lanes == W ? Vec::load(p + i) : Vec::load_first(p + i, lanes); };
        const Vec scaled = Vec::fma(load(t.x) - centre, of_x, shift);
        return t.grad == nullptr ? scaled : Vec::fma(load(t.grad), of_grad, scaled);
    };
    std::int64_t i = 0;
    for (; i + W <= t.pixels; i += W) made(i, W).store(t.out + i);
    if (i < t.pixels) made(i, static_cast<int>(t.pixels - i)).store_first(t.out + i, static_cast<int>(t.pixels - i));
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
