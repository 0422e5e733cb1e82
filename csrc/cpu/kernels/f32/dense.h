// Dense sums with output channels in the vector lanes: some pixels times a pair of vectors of channels in registers.
#pragma once
#include <cassert>

#include "kernels/tasks/dense.h"
#include "kernels/vec/vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// Pixels of one register tile: 2 sums each, beside a pair of weights and an input.
#if defined(SOVS_WIDTH_16)
constexpr int kDensePixels = 12;
#elif defined(SOVS_ISA_NEON)
constexpr int kDensePixels = 8;
#else
constexpr int kDensePixels = 6;
#endif

template <int kPixels>
void dense_tile(const DenseTask& t, std::int32_t pixel, std::int32_t channel, std::int32_t padded) {
    constexpr int W = Vec::kWidth;
    Vec sum[kPixels][2];
    SOVS_UNROLL
    for (int half = 0; half < 2; ++half) {
        const Vec start = t.bias == nullptr ? Vec::zero() : Vec::load(t.bias + channel + half * W);
        SOVS_UNROLL
        for (int p = 0; p < kPixels; ++p) sum[p][half] = start;
    }
    const float* weights = t.weights + channel;
    const float* input = t.panel + pixel * t.pixel_stride;
    for (std::int32_t k = 0; k < t.depth; ++k, weights += padded) {
        const Vec w0 = Vec::load(weights), w1 = Vec::load(weights + W);
        const float* x = input + t.offsets[k];
        SOVS_UNROLL
        for (int p = 0; p < kPixels; ++p) {
            const Vec pixels = Vec::broadcast(x + p * t.pixel_stride);
            sum[p][0] = Vec::fma(pixels, w0, sum[p][0]);
            sum[p][1] = Vec::fma(pixels, w1, sum[p][1]);
        }
    }
    float* out = t.out + pixel * t.out_stride + channel;
    const int lanes0 = t.channels - channel < W ? t.channels - channel : W;
    const int lanes1 = t.channels - channel - W < W ? t.channels - channel - W : W;
    SOVS_UNROLL
    for (int p = 0; p < kPixels; ++p, out += t.out_stride) {
        if (t.relu) {
            sum[p][0] = Vec::relu(sum[p][0]);
            sum[p][1] = Vec::relu(sum[p][1]);
        }
        sum[p][0].store_first(out, lanes0);
        if (lanes1 > 0) sum[p][1].store_first(out + W, lanes1);
    }
}

template <int kPixels>
void dense_rest(const DenseTask& t, std::int32_t pixel, std::int32_t rest, std::int32_t channel, std::int32_t padded) {
    if constexpr (kPixels > 0) {
        if (rest == kPixels)
            dense_tile<kPixels>(t, pixel, channel, padded);
        else
            dense_rest<kPixels - 1>(t, pixel, rest, channel, padded);
    }
}

inline void dense(const DenseTask& t) {
    assert(t.depth > 0 && t.pixels > 0 && t.channels > 0);
    constexpr int kPair = 2 * Vec::kWidth;
    const std::int32_t padded = (t.channels + kPair - 1) / kPair * kPair;
    for (std::int32_t channel = 0; channel < t.channels; channel += kPair) {
        std::int32_t pixel = 0;
        for (; pixel + kDensePixels <= t.pixels; pixel += kDensePixels)
            dense_tile<kDensePixels>(t, pixel, channel, padded);
        dense_rest<kDensePixels - 1>(t, pixel, t.pixels - pixel, channel, padded);
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
