// Attention with queries in the vector lanes: the softmax over keys runs down the rows, never across lanes.
//
// Keys come in blocks; the sums of earlier blocks are scaled down where a later one brings a larger score (Milakov and
// Gimelshein, Online normalizer calculation for softmax, 2018).
#pragma once
#include <cassert>
#include <cstdint>

#include "kernels/tasks/attention.h"
#include "kernels/vec/vec_math.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// scores[k] = scale * sum over d of key[d][k] * query[d], for kKeys keys; the largest one goes to `top`.
template <int kKeys, int kVectors>
inline void score_keys(const AttendTask& t, std::int32_t first, Vec (&top)[kVectors]) {
    constexpr int W = Vec::kWidth;
    Vec sum[kKeys][kVectors];
    SOVS_UNROLL
    for (int k = 0; k < kKeys; ++k) SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) sum[k][j] = Vec::zero();
    const float *key = t.key + first, *query = t.query;
    for (std::int32_t d = 0; d < t.depth; ++d, key += t.key_stride, query += t.stride) {
        Vec q[kVectors];
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) q[j] = Vec::load(query + j * W);
        SOVS_UNROLL
        for (int k = 0; k < kKeys; ++k) {
            const Vec one = Vec::broadcast(key + k);
            SOVS_UNROLL
            for (int j = 0; j < kVectors; ++j) sum[k][j] = Vec::fma(one, q[j], sum[k][j]);
        }
    }
    const Vec scale = Vec::broadcast(&t.scale);
    SOVS_UNROLL
    for (int k = 0; k < kKeys; ++k) SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) {
        const Vec score = sum[k][j] * scale;
        top[j] = Vec::max(top[j], score);
        score.store(t.scores + (first + k) * t.stride + j * W);
    }
}

// sums[d] = sums[d] * shrink + sum over k of scores[k] * value[d][k], for kRows channels.
template <int kRows, int kVectors>
inline void add_values(const AttendTask& t, std::int32_t first, const Vec (&shrink)[kVectors]) {
    constexpr int W = Vec::kWidth;
    Vec sum[kRows][kVectors];
    float* place = t.sums + first * t.stride;
    SOVS_UNROLL
    for (int r = 0; r < kRows; ++r) SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) sum[r][j] = Vec::load(place + r * t.stride + j * W) * shrink[j];
    const float *value = t.value + first * t.value_stride, *score = t.scores;
    for (std::int32_t k = 0; k < t.keys; ++k, ++value, score += t.stride) {
        Vec weight[kVectors];
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) weight[j] = Vec::load(score + j * W);
        SOVS_UNROLL
        for (int r = 0; r < kRows; ++r) {
            const Vec one = Vec::broadcast(value + r * t.value_stride);
            SOVS_UNROLL
            for (int j = 0; j < kVectors; ++j) sum[r][j] = Vec::fma(one, weight[j], sum[r][j]);
        }
    }
    SOVS_UNROLL
    for (int r = 0; r < kRows; ++r) SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) sum[r][j].store(place + r * t.stride + j * W);
}

template <int kVectors>
void attend(const AttendTask& t) {
    constexpr int W = Vec::kWidth;
    assert(t.depth > 0 && t.keys > 0 && t.stride >= kVectors * W);
    Vec before[kVectors], top[kVectors], shrink[kVectors], total[kVectors];
    SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) before[j] = top[j] = Vec::load(t.top + j * W);
    std::int32_t k = 0;
    for (; k + 4 <= t.keys; k += 4) score_keys<4>(t, k, top);
    for (; k < t.keys; ++k) score_keys<1>(t, k, top);
    SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) {
        shrink[j] = exp(before[j] - top[j]);
        total[j] = Vec::load(t.total + j * W) * shrink[j];
        top[j].store(t.top + j * W);
    }
    for (k = 0; k < t.keys; ++k) {
        float* score = t.scores + k * t.stride;
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) {
            const Vec weight = exp(Vec::load(score + j * W) - top[j]);
            total[j] = total[j] + weight;
            weight.store(score + j * W);
        }
    }
    SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) total[j].store(t.total + j * W);
    std::int32_t d = 0;
    for (; d + 4 <= t.depth; d += 4) add_values<4>(t, d, shrink);
    for (; d < t.depth; ++d) add_values<1>(t, d, shrink);
}

inline void finish_attention(const AttendTask& t, std::int32_t queries) {
    constexpr int W = Vec::kWidth;
    for (std::int32_t i = 0; i < queries; i += W) {
        const Vec share = constant(1.0f) / Vec::load(t.total + i);
        for (std::int32_t d = 0; d < t.depth; ++d) {
            float* place = t.sums + d * t.stride + i;
            (Vec::load(place) * share).store(place);
        }
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
