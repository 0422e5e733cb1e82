// Where one head's samples lie: the four cells around each and their weights, for a vector of samples at once.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/tasks/deformable.h"
#include "kernels/vec/vec_math.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// Samples of a query, padded to whole vectors.
inline std::int32_t padded_samples(const DeformableTask& t) {
    return (t.levels * t.points + Vec::kWidth - 1) / Vec::kWidth * Vec::kWidth;
}

// Working memory of a query, as `made` is laid out: each sample's reference, then its place, x and y, and its weight.
inline float* made_reference(const DeformableTask& t, std::int32_t query) {
    return t.made + query * (3 * padded_samples(t) + Vec::kWidth);
}
inline float* made_weights(const DeformableTask& t, std::int32_t query) {
    return made_reference(t, query) + 2 * padded_samples(t) + Vec::kWidth;
}

// Repeats a query's reference in each map for the samples there. What whole vectors write past them, the next ones replace.
inline void spread_reference(const DeformableTask& t, std::int32_t query) {
    const float* reference = t.references + query * t.levels * 2;
    float* to = made_reference(t, query);
    for (int axis = 0; axis < 2; ++axis, to += padded_samples(t))
        for (std::int32_t l = 0; l < t.levels; ++l) {
            const Vec value = Vec::broadcast(reference + 2 * l + axis);
            for (std::int32_t p = 0; p < t.points; p += Vec::kWidth) value.store(to + l * t.points + p);
        }
}

// The softmax of a query's logits.
inline void make_weights(const DeformableTask& t, std::int32_t query) {
    constexpr int W = Vec::kWidth;
    const float* logits = t.shares + query * t.share_stride;
    float* weights = made_weights(t, query);
    const std::int32_t count = t.levels * t.points;
    // A NaN among the logits passes by the largest of them, but not by the sum.
    float top = logits[0];
    for (std::int32_t i = 1; i < count; ++i) top = std::max(top, logits[i]);
    const Vec tops = Vec::broadcast(&top);
    for (std::int32_t i = 0; i < count; i += W) exp(Vec::load(logits + i) - tops).store(weights + i);
    float total = 0.0f;
    for (std::int32_t i = 0; i < count; ++i) total += weights[i];
    const Vec totals = Vec::broadcast(&total);
    for (std::int32_t i = 0; i < count; i += W) (Vec::load(weights + i) / totals).store(weights + i);
}

// The two cells beside a coordinate and their weights along one axis.
struct Neighbours {
    Vec inside;  // > 0 where one of them is in the map; NaN where the coordinate is
    Vec first, second;
    Vec first_part, second_part;
};

// Where only one of the cells is in the map it stands for both, with half its weight each: a weight of zero would still make
// NaN of an infinity. Where none is, the cells are any of the map.
inline Neighbours neighbours(Vec pixel, Vec size) {
    const Vec zero = Vec::zero(), one = constant(1.0f), half = constant(0.5f);
    Neighbours n;
    n.inside = Vec::min(pixel + one, size - pixel);
    pixel = Vec::where_greater(n.inside, zero, pixel, zero);
    const Vec before = Vec::floor(pixel), after = before + one, last = size - one;
    const Vec part = pixel - before, rest = one - part;
    n.first = Vec::max(before, zero);
    n.second = Vec::min(after, last);
    n.first_part = Vec::where_greater(zero, before, half * part, Vec::where_greater(after, last, half * rest, rest));
    n.second_part = Vec::where_greater(zero, before, half * part, Vec::where_greater(after, last, half * rest, part));
    return n;
}

// Pixel coordinates of a query's samples, x and y, in place of its reference. In one rounding each: its error is
// amplified by the values' differences from cell to cell.
inline void make_pixels(const DeformableTask& t, std::int32_t query) {
    constexpr int W = Vec::kWidth;
    const std::int32_t padded = padded_samples(t);
    const float* places = t.places + query * t.share_stride * 2;
    float* to = made_reference(t, query);
    const Vec half = constant(0.5f);
    for (std::int32_t i = 0; i < t.levels * t.points; i += W, to += W) {
        Vec x = Vec::load(places + 2 * i), y = Vec::load(places + 2 * i + W);
        Vec::split_pairs(x, y);
        const Vec w = Vec::load(t.maps.w + i), h = Vec::load(t.maps.h + i);
        const bool around = t.references != nullptr;
        (around ? Vec::fma(Vec::load(to), w, x - half) : Vec::fma(x, w, Vec::zero() - half)).store(to);
        (around ? Vec::fma(Vec::load(to + padded), h, y - half) : Vec::fma(y, h, Vec::zero() - half))
            .store(to + padded);
    }
}

// Lists a query's samples that meet a cell, or NaN.
inline void make_corners(const DeformableTask& t, std::int32_t query) {
    constexpr int W = Vec::kWidth;
    const std::int32_t count = t.levels * t.points, padded = padded_samples(t);
    const float* weights = t.references ? made_weights(t, query) : t.shares + query * t.share_stride;
    const float* pixels = made_reference(t, query);
    std::int32_t* corners = t.corners + query * padded * 4;
    float* parts = t.parts + query * padded * 4;
    std::int32_t *const listed = t.listed + query * padded, *to = listed;
    const Vec zero = Vec::zero(), one = constant(1.0f);
    for (std::int32_t i = 0; i < count; i += W) {
        const int lanes = std::min(W, count - i);
        const Vec x = Vec::load(pixels + i), y = Vec::load(pixels + padded + i);
        const Neighbours columns = neighbours(x, Vec::load(t.maps.w + i)),
                         rows = neighbours(y, Vec::load(t.maps.h + i));
        // 0, but NaN where a coordinate is not finite: an infinity less itself is NaN too.
        const Vec nowhere = (x - x) + (y - y);
        const Vec weight = Vec::load(weights + i) + nowhere;
        const Vec upper = weight * rows.first_part, lower = weight * rows.second_part;
        (upper * columns.first_part).store(parts + 4 * i);
        (upper * columns.second_part).store(parts + 4 * i + W);
        (lower * columns.first_part).store(parts + 4 * i + 2 * W);
        (lower * columns.second_part).store(parts + 4 * i + 3 * W);

        std::int32_t left[W], right[W], top[W], bottom[W], offsets[4][W], meets[W];
        columns.first.store_whole(left);
        columns.second.store_whole(right);
        rows.first.store_whole(top);
        rows.second.store_whole(bottom);
        for (int j = 0; j < W; ++j) {
            const std::int32_t first = t.maps.first_byte[i + j], row = t.maps.row_bytes[i + j];
            offsets[0][j] = first + top[j] * row + left[j] * t.cell_bytes;
            offsets[1][j] = first + top[j] * row + right[j] * t.cell_bytes;
            offsets[2][j] = first + bottom[j] * row + left[j] * t.cell_bytes;
            offsets[3][j] = first + bottom[j] * row + right[j] * t.cell_bytes;
        }
        std::copy_n(offsets[0], 4 * W, corners + 4 * i);

        const Vec met =
            Vec::where_greater(columns.inside, zero, Vec::where_greater(rows.inside, zero, one, zero), zero);
        Vec::where_greater(nowhere + one, zero, met, one).store_whole(meets);
        for (int j = 0; j < lanes; ++j) {
            *to = 4 * i + j;
            to += meets[j];
        }
    }
    t.counts[query] = static_cast<std::int32_t>(to - listed);
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
