// Deformable attention of one query and head: where it samples, and the bilinear samples of the head's channels, summed by
// weight.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstdint>

#include "kernel_table.h"
#include "vec_math.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// The cell at or before a pixel coordinate that lies in an int32's range.
inline std::int32_t cell_before(float pixel) {
    const auto cut = static_cast<std::int32_t>(pixel);
    return cut - (pixel < static_cast<float>(cut) ? 1 : 0);
}

// Lists the cells that one point samples, with their weights; returns the end of the list.
inline Entry* point_corners(const DeformableLevel& level, float x, float y, float weight, std::int32_t cell_bytes, Entry* to) {
    x = x * static_cast<float>(level.w) - 0.5f;
    y = y * static_cast<float>(level.h) - 0.5f;
    const std::int32_t first = level.first_cell * cell_bytes;
    // An infinity less itself is NaN too. Any cell times NaN is what a point nowhere gives.
    if (x - x != 0.0f || y - y != 0.0f) {
        *to = {x - x + (y - y), first};
        return to + 1;
    }
    if (!(x > -1.0f && y > -1.0f && x < static_cast<float>(level.w) && y < static_cast<float>(level.h))) return to;
    const std::int32_t left = cell_before(x), top = cell_before(y);
    const float right_part = x - static_cast<float>(left), lower_part = y - static_cast<float>(top);
    const float upper = weight * (1.0f - lower_part), lower = weight * lower_part;
    const std::int32_t at = first + (top * level.w + left) * cell_bytes, row = level.w * cell_bytes;
    const Entry corners[4] = {{upper * (1.0f - right_part), at},
                              {upper * right_part, at + cell_bytes},
                              {lower * (1.0f - right_part), at + row},
                              {lower * right_part, at + row + cell_bytes}};
    if (left >= 0 && top >= 0 && left + 1 < level.w && top + 1 < level.h) {
        for (const Entry& corner : corners) *to++ = corner;
        return to;
    }
    for (int i = 0; i < 4; ++i) {
        const std::int32_t column = left + i % 2, line = top + i / 2;
        if (column >= 0 && column < level.w && line >= 0 && line < level.h) *to++ = corners[i];
    }
    return to;
}

// out[0 .. lanes) = sum over the entries of weight * values there, for kVectors vectors; the last one may be cut. Four
// chains of sums hide the latency of an FMA.
template <int kVectors>
inline void deformable_run(const float* values, const Entry* entries, std::int32_t count, std::int32_t lanes, float* out) {
    constexpr int W = Vec::kWidth, kChains = 4;
    const bool whole = lanes == kVectors * W;
    const int rest = lanes - (kVectors - 1) * W;
    Vec sum[kChains][kVectors];
    SOVS_UNROLL
    for (int c = 0; c < kChains; ++c)
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) sum[c][j] = Vec::zero();
    const auto add = [&](const Entry& entry, Vec(&to)[kVectors], bool cut) {
        const Vec weight = Vec::broadcast(&entry.weight);
        const float* cell = reinterpret_cast<const float*>(reinterpret_cast<const char*>(values) + entry.offset);
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) {
            const Vec value = cut && j == kVectors - 1 ? Vec::load_first(cell + j * W, rest) : Vec::load(cell + j * W);
            to[j] = Vec::fma(weight, value, to[j]);
        }
    };
    const auto add_all = [&](bool cut) {
        std::int32_t i = 0;
        for (; i + kChains <= count; i += kChains)
            SOVS_UNROLL
            for (int c = 0; c < kChains; ++c) add(entries[i + c], sum[c], cut);
        for (; i < count; ++i) add(entries[i], sum[0], cut);
    };
    if (whole)
        add_all(false);
    else
        add_all(true);
    SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) {
        const Vec total = (sum[0][j] + sum[1][j]) + (sum[2][j] + sum[3][j]);
        if (!whole && j == kVectors - 1)
            total.store_first(out + j * W, rest);
        else
            total.store(out + j * W);
    }
}

inline void deformable(const DeformableTask& t) {
    constexpr int W = Vec::kWidth;
    assert(t.level_count > 0 && t.points > 0 && t.depth > 0);
    Entry* end = t.entries;
    const float *location = t.locations, *weight = t.weights;
    for (std::int32_t l = 0; l < t.level_count; ++l)
        for (std::int32_t p = 0; p < t.points; ++p, location += 2)
            end = point_corners(t.levels[l], location[0], location[1], *weight++, t.cell_bytes, end);
    const auto count = static_cast<std::int32_t>(end - t.entries);
    std::int32_t d = 0;
    for (; t.depth - d > W; d += 2 * W) {
        const std::int32_t lanes = t.depth - d < 2 * W ? t.depth - d : 2 * W;
        deformable_run<2>(t.values + d, t.entries, count, lanes, t.out + d);
    }
    if (d < t.depth) deformable_run<1>(t.values + d, t.entries, count, t.depth - d, t.out + d);
}

inline void places(const PlacesTask& t) {
    constexpr int W = Vec::kWidth;
    const float *offset = t.offsets, *reference = t.reference;
    float* location = t.locations;
    for (std::int32_t l = 0; l < t.level_count; ++l, reference += 2) {
        const auto w = static_cast<float>(t.levels[l].w), h = static_cast<float>(t.levels[l].h);
        for (std::int32_t p = 0; p < t.points; ++p, offset += 2, location += 2) {
            location[0] = reference[0] + offset[0] / w;
            location[1] = reference[1] + offset[1] / h;
        }
    }
    // A NaN among the logits passes by the largest of them, but not by the sum.
    const std::int32_t count = t.level_count * t.points;
    float top = t.logits[0];
    for (std::int32_t i = 1; i < count; ++i) top = std::max(top, t.logits[i]);
    const Vec tops = Vec::broadcast(&top);
    for (std::int32_t i = 0; i < count; i += W) {
        const int lanes = std::min(W, count - i);
        exp(Vec::load_first(t.logits + i, lanes) - tops).store_first(t.weights + i, lanes);
    }
    float total = 0.0f;
    for (std::int32_t i = 0; i < count; ++i) total += t.weights[i];
    for (std::int32_t i = 0; i < count; ++i) t.weights[i] /= total;
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
