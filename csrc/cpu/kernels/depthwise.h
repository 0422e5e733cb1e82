// One channel of a depthwise convolution: a few vectors of sums in registers, pixels as memory operands.
#pragma once
#include <cassert>
#include <cstdint>

#include "kernel_table.h"
#include "vec_math.h"

namespace sovs::SOVS_ISA_NAMESPACE {

template <int kVectors>
inline void depthwise_run(const DepthwiseTask& t, std::int64_t first) {
    constexpr int W = Vec::kWidth;
    Vec sum[kVectors];
    SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) sum[j] = Vec::broadcast(&t.bias);
    const float* plane = t.plane + first;
    for (std::int32_t tap = 0; tap < t.taps; ++tap) {
        const Vec weight = Vec::broadcast(t.weights + tap);
        const float* pixels = plane + t.offsets[tap];
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) sum[j] = Vec::fma(weight, Vec::load(pixels + j * W), sum[j]);
    }
    SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) sum[j].store(t.out + first + j * W);
}

inline void depthwise(const DepthwiseTask& t) {
    constexpr int W = Vec::kWidth, kVectors = 8;
    assert(t.pixels > 0 && t.pixels % W == 0);
    std::int64_t first = 0;
    for (; first + kVectors * W <= t.pixels; first += kVectors * W) depthwise_run<kVectors>(t, first);
    if (first + 4 * W <= t.pixels) {
        depthwise_run<4>(t, first);
        first += 4 * W;
    }
    for (; first < t.pixels; first += W) depthwise_run<1>(t, first);
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
