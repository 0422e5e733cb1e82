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

// Lists the cells that a point at the border of its map, or outside, samples; returns the end of the list.
inline Entry* border_corners(const DeformableLevel& level, float x, float y, float weight, std::int32_t cell_bytes,
                             Entry* to) {
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
    for (int i = 0; i < 4; ++i) {
        const std::int32_t column = left + i % 2, line = top + i / 2;
        if (column < 0 || column >= level.w || line < 0 || line >= level.h) continue;
        *to++ = {(i / 2 ? lower : upper) * (i % 2 ? right_part : 1.0f - right_part),
                 first + (line * level.w + column) * cell_bytes};
    }
    return to;
}

// Of every point, the offset of its upper left cell and the weights of its four; of those that are not inside, something.
inline void point_corners(const DeformableTask& t, std::int32_t* at) {
    const DeformablePoints& p = t.points;
    const std::int32_t count = p.count, cell_bytes = t.cell_bytes;
    float* corner[4];
    for (int i = 0; i < 4; ++i) corner[i] = t.corners + i * count;
    // Plain loops over arrays: compilers make vectors of them. NaN compares as false.
    for (std::int32_t i = 0; i < count; ++i) {
        const float x = t.x[i], y = t.y[i], last_x = p.width[i] - 1.0f, last_y = p.height[i] - 1.0f;
        float left = x > 0.0f ? x : 0.0f, top = y > 0.0f ? y : 0.0f;
        left = left < last_x ? left : last_x;
        top = top < last_y ? top : last_y;
        const auto column = static_cast<std::int32_t>(left), line = static_cast<std::int32_t>(top);
        const float right_part = x - static_cast<float>(column), lower_part = y - static_cast<float>(line);
        const float upper = t.weights[i] * (1.0f - lower_part), lower = t.weights[i] * lower_part;
        corner[0][i] = upper * (1.0f - right_part);
        corner[1][i] = upper * right_part;
        corner[2][i] = lower * (1.0f - right_part);
        corner[3][i] = lower * right_part;
        at[i] = p.first[i] + (line * p.columns[i] + column) * cell_bytes;
    }
}

// The points inside their maps, by number, and the cells of all others.
struct Sampled {
    const std::int32_t* at;      // by point: offset of its upper left cell
    const std::int32_t* inside;  // numbers of points
    std::int32_t inside_count, entry_count;
};

// out[0 .. lanes) = sum of weight * values, for kVectors vectors; the last one may be cut. Four chains of sums hide the
// latency of an FMA.
template <int kVectors, bool kCut>
inline void deformable_run(const DeformableTask& t, const Sampled& s, std::int32_t first, std::int32_t lanes) {
    constexpr int W = Vec::kWidth, kChains = 4;
    const int rest = lanes - (kVectors - 1) * W;
    const float* values = t.values + first;
    const std::int32_t count = t.points.count;
    Vec sum[kChains][kVectors];
    SOVS_UNROLL
    for (int c = 0; c < kChains; ++c)
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) sum[c][j] = Vec::zero();
    const auto add = [&](const float* weight, std::int32_t offset, Vec(&to)[kVectors]) {
        const Vec part = Vec::broadcast(weight);
        const float* cell = reinterpret_cast<const float*>(reinterpret_cast<const char*>(values) + offset);
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) {
            const Vec value = kCut && j == kVectors - 1 ? Vec::load_first(cell + j * W, rest) : Vec::load(cell + j * W);
            to[j] = Vec::fma(part, value, to[j]);
        }
    };
    for (std::int32_t k = 0; k < s.inside_count; ++k) {
        const std::int32_t i = s.inside[k], at = s.at[i], row = t.points.row[i];
        const float* corner = t.corners + i;
        add(corner, at, sum[0]);
        add(corner + count, at + t.cell_bytes, sum[1]);
        add(corner + 2 * count, at + row, sum[2]);
        add(corner + 3 * count, at + row + t.cell_bytes, sum[3]);
    }
    for (std::int32_t e = 0; e < s.entry_count; ++e) add(&t.entries[e].weight, t.entries[e].offset, sum[e % kChains]);
    SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) {
        const Vec total = (sum[0][j] + sum[1][j]) + (sum[2][j] + sum[3][j]);
        if (kCut && j == kVectors - 1)
            total.store_first(t.out + first + j * W, rest);
        else
            total.store(t.out + first + j * W);
    }
}

inline void deformable(const DeformableTask& t) {
    constexpr int W = Vec::kWidth;
    const DeformablePoints& p = t.points;
    assert(p.count > 0 && t.depth > 0);
    std::int32_t* at = t.inside + p.count;
    point_corners(t, at);
    Entry* end = t.entries;
    std::int32_t inside = 0;
    for (std::int32_t i = 0; i < p.count; ++i) {
        const float x = t.x[i], y = t.y[i];
        if (x >= 0.0f && y >= 0.0f && x < p.width[i] - 1.0f && y < p.height[i] - 1.0f)
            t.inside[inside++] = i;
        else
            end = border_corners(t.levels[p.level[i]], x, y, t.weights[i], t.cell_bytes, end);
    }
    const Sampled sampled{at, t.inside, inside, static_cast<std::int32_t>(end - t.entries)};
    std::int32_t d = 0;
    for (; t.depth - d >= 2 * W; d += 2 * W) deformable_run<2, false>(t, sampled, d, 2 * W);
    if (t.depth - d > W)
        deformable_run<2, true>(t, sampled, d, t.depth - d);
    else if (t.depth - d == W)
        deformable_run<1, false>(t, sampled, d, W);
    else if (d < t.depth)
        deformable_run<1, true>(t, sampled, d, t.depth - d);
}

inline void locate(const LocateTask& t) {
    for (std::int32_t i = 0; i < t.points.count; ++i) {
        t.x[i] = t.locations[2 * i] * t.points.width[i] - 0.5f;
        t.y[i] = t.locations[2 * i + 1] * t.points.height[i] - 0.5f;
    }
}

inline void places(const PlacesTask& t) {
    constexpr int W = Vec::kWidth;
    const std::int32_t count = t.points.count;
    for (std::int32_t i = 0; i < count; ++i) {
        t.x[i] = t.around_x[i] + t.offsets[2 * i];
        t.y[i] = t.around_y[i] + t.offsets[2 * i + 1];
    }
    // A NaN among the logits passes by the largest of them, but not by the sum.
    float top = t.logits[0];
    for (std::int32_t i = 1; i < count; ++i) top = std::max(top, t.logits[i]);
    const Vec tops = Vec::broadcast(&top);
    for (std::int32_t i = 0; i < count; i += W) {
        const int lanes = std::min(W, count - i);
        exp(Vec::load_first(t.logits + i, lanes) - tops).store_first(t.weights + i, lanes);
    }
    float total = 0.0f;
    for (std::int32_t i = 0; i < count; ++i) total += t.weights[i];
    const float part = 1.0f / total;
    for (std::int32_t i = 0; i < count; ++i) t.weights[i] *= part;
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
