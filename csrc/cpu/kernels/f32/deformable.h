// Deformable attention of one head of some queries: the bilinear samples of the head's channels, summed by weight.
#pragma once
#include <cassert>
#include <cstdint>

#include "kernels/f32/deformable_corners.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// out[0 .. lanes) = sum over a query's listed samples and their four corners of weight * values there, for kVectors vectors;
// the last one may be cut. A chain of sums for each corner hides the latency of an FMA.
template <int kVectors>
inline void deformable_run(const DeformableTask& t, std::int32_t query, std::int32_t d, std::int32_t lanes) {
    constexpr int W = Vec::kWidth, kCorners = 4;
    const bool whole = lanes == kVectors * W;
    const int rest = lanes - (kVectors - 1) * W;
    const std::int32_t padded = padded_samples(t), count = t.counts[query];
    const std::int32_t *corners = t.corners + query * padded * 4, *listed = t.listed + query * padded;
    const float* parts = t.parts + query * padded * 4;
    const char* values = reinterpret_cast<const char*>(t.values + d);
    Vec sum[kCorners][kVectors];
    SOVS_UNROLL
    for (int c = 0; c < kCorners; ++c) SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) sum[c][j] = Vec::zero();
    const auto add_all = [&](bool cut) {
        for (std::int32_t i = 0; i < count; ++i) {
            const std::ptrdiff_t at = listed[i];
            SOVS_UNROLL
            for (int c = 0; c < kCorners; ++c) {
                const Vec weight = Vec::broadcast(parts + at + c * W);
                const float* cell = reinterpret_cast<const float*>(values + corners[at + c * W]);
                SOVS_UNROLL
                for (int j = 0; j < kVectors; ++j) {
                    const Vec value =
                        cut && j == kVectors - 1 ? Vec::load_first(cell + j * W, rest) : Vec::load(cell + j * W);
                    sum[c][j] = Vec::fma(weight, value, sum[c][j]);
                }
            }
        }
    };
    if (whole)
        add_all(false);
    else
        add_all(true);
    float* out = t.out + query * t.out_stride + d;
    SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) {
        const Vec total = (sum[0][j] + sum[1][j]) + (sum[2][j] + sum[3][j]);
        if (!whole && j == kVectors - 1)
            total.store_first(out + j * W, rest);
        else
            total.store(out + j * W);
    }
}

// One step after the other for all queries: what a step writes is in the cache, and no longer on its way there, when the
// next reads it in other pieces.
inline void deformable(const DeformableTask& t) {
    constexpr int W = Vec::kWidth;
    assert(t.levels > 0 && t.points > 0 && t.depth > 0 && t.queries > 0);
    if (t.references != nullptr)
        for (std::int32_t q = 0; q < t.queries; ++q) {
            spread_reference(t, q);
            make_weights(t, q);
        }
    for (std::int32_t q = 0; q < t.queries; ++q) make_pixels(t, q);
    for (std::int32_t q = 0; q < t.queries; ++q) make_corners(t, q);
    for (std::int32_t q = 0; q < t.queries; ++q) {
        std::int32_t d = 0;
        for (; t.depth - d > W; d += 2 * W) deformable_run<2>(t, q, d, t.depth - d < 2 * W ? t.depth - d : 2 * W);
        if (d < t.depth) deformable_run<1>(t, q, d, t.depth - d);
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
