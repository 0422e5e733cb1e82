// One channel of a depthwise convolution: a few vectors of sums in registers, pixels as memory operands.
#pragma once
#include <cassert>
#include <cstdint>

#include "kernels/tasks/depthwise.h"
#include "kernels/vec/vec_math.h"

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

template <int kVectors>
inline void depthwise_some(const DepthwiseTask& t, std::int64_t first, int vectors) {
    if constexpr (kVectors > 0) {
        if (vectors == kVectors)
            depthwise_run<kVectors>(t, first);
        else
            depthwise_some<kVectors - 1>(t, first, vectors);
    }
}

inline void depthwise(const DepthwiseTask& t) {
    constexpr int W = Vec::kWidth, kMost = 8;
    assert(t.pixels > 0 && t.pixels % W == 0);
    const std::int64_t vectors = t.pixels / W;
    // Even runs: short ones would wait for the latency of their sums.
    const std::int64_t runs = (vectors + kMost - 1) / kMost;
    for (std::int64_t run = 0; run < runs; ++run) {
        const std::int64_t begin = vectors * run / runs, end = vectors * (run + 1) / runs;
        depthwise_some<kMost>(t, begin * W, static_cast<int>(end - begin));
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
