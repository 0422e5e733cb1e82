// The inner loops of a sparse weight's gradient: dot products over the pixels of a tile, only where weights are stored.
#pragma once
#include <cassert>

#include "kernels/f32/rows.h"
#include "kernels/tasks/sampled.h"
#include "kernels/vec/vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

constexpr int kAhead = 4;  // rows

template <int kVectors>
inline void check_contract(const SampledTask& task) {
    constexpr int W = Vec::kWidth;
    assert(task.lanes > (kVectors - 1) * W && task.lanes <= kVectors * W);
    assert(task.grad != nullptr && task.sums != nullptr);
}

// A row's gradients, zeros past its lanes and for rows past the last channel.
template <int kVectors>
inline void load_gradients(const SampledTask& task, std::int64_t channel, Vec (&grad)[kVectors]) {
    constexpr int W = Vec::kWidth;
    if (channel >= task.channels) {
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) grad[j] = Vec::zero();
        return;
    }
    const float* place = task.grad + channel * task.grad_stride;
    const int tail = task.lanes - (kVectors - 1) * W;  // valid lanes of the last vector
    SOVS_UNROLL
    for (int j = 0; j + 1 < kVectors; ++j) grad[j] = Vec::load(place + j * W);
    const float* end = place + (kVectors - 1) * W;
    grad[kVectors - 1] = tail == W ? Vec::load(end) : Vec::load_first(end, tail);
}

// Rows of a map lie pages apart, where the CPU's own prefetching ends.
template <int kVectors>
inline void prefetch_gradients(const SampledTask& task, std::int64_t channel) {
    const float* place = task.grad + channel * task.grad_stride;
    SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) __builtin_prefetch(place + j * Vec::kWidth);
}

// Of kCount entries at once: their sums depend on each other only through the transposing addition at the end.
template <int kVectors, int kCount>
inline void sample(const float* panel, const Entry* entry, const Vec (&grad)[kVectors], float* to) {
    constexpr int W = Vec::kWidth;
    const float* pixels[kCount];
    Vec sum[4];
    SOVS_UNROLL
    for (int e = 0; e < 4; ++e) sum[e] = Vec::zero();
    SOVS_UNROLL
    for (int e = 0; e < kCount; ++e) {
        pixels[e] = at(panel, entry[e].offset);
        sum[e] = grad[0] * Vec::load(pixels[e]);
    }
    SOVS_UNROLL
    for (int j = 1; j < kVectors; ++j) SOVS_UNROLL
    for (int e = 0; e < kCount; ++e) sum[e] = Vec::fma(grad[j], Vec::load(pixels[e] + j * W), sum[e]);
    if constexpr (kCount == 4) {
        Vec::add_sums(sum[0], sum[1], sum[2], sum[3], to);
    } else {
        // The floats behind belong to rows that another thread may be adding to.
        float sums[4] = {};
        Vec::add_sums(sum[0], sum[1], sum[2], sum[3], sums);
        for (int e = 0; e < kCount; ++e) to[e] += sums[e];
    }
}

// One output channel at a time: its gradients stay in registers, activations are memory operands of the FMAs.
template <int kVectors>
void sampled1(const SampledTask& task) {
    check_contract<kVectors>(task);
    for (const RowGroup* group = task.groups; group != task.groups + task.group_count; ++group) {
        const int count = group->entries;
        if (count == 0) continue;
        const Entry* entry = task.entries + group->first_entry;
        float* to = task.sums + group->first_entry;
        const std::int32_t* row = task.row_ids + group->first_row;
        for (int i = 0; i < group->block_rows; ++i) {
            Vec grad[kVectors];
            load_gradients(task, row[i], grad);
            if (i + kAhead < group->block_rows) prefetch_gradients<kVectors>(task, row[i + kAhead]);
            int k = 0;
            for (; k + 4 <= count; k += 4) sample<kVectors, 4>(task.panel, entry + k, grad, to + k);
            if (count - k == 3) sample<kVectors, 3>(task.panel, entry + k, grad, to + k);
            if (count - k == 2) sample<kVectors, 2>(task.panel, entry + k, grad, to + k);
            if (count - k == 1) sample<kVectors, 1>(task.panel, entry + k, grad, to + k);
            entry += count;
            to += count;
        }
    }
}

// Four output channels that share their columns: each activation that is loaded feeds four FMAs.
template <int kVectors>
void sampled4(const SampledTask& task) {
    constexpr int W = Vec::kWidth;
    check_contract<kVectors>(task);
    for (const RowGroup* group = task.groups; group != task.groups + task.group_count; ++group) {
        const int count = group->entries;
        if (count == 0) continue;
        const std::int32_t* offsets = task.offsets + group->first_offset;
        float* to = task.sums + group->first_entry * 4;
        const std::int32_t* row = task.row_ids + group->first_row;
        for (int i = 0; i < group->block_rows; ++i, offsets += group->offset_step) {
            Vec grad[4][kVectors];
            SOVS_UNROLL
            for (int r = 0; r < 4; ++r) load_gradients(task, std::int64_t{4} * row[i] + r, grad[r]);
            for (int k = 0; k < count; ++k, to += 4) {
                const float* pixels = at(task.panel, offsets[k]);
                Vec sum[4];
                const Vec first = Vec::load(pixels);
                SOVS_UNROLL
                for (int r = 0; r < 4; ++r) sum[r] = grad[r][0] * first;
                SOVS_UNROLL
                for (int j = 1; j < kVectors; ++j) {
                    const Vec x = Vec::load(pixels + j * W);
                    SOVS_UNROLL
                    for (int r = 0; r < 4; ++r) sum[r] = Vec::fma(grad[r][j], x, sum[r]);
                }
                Vec::add_sums(sum[0], sum[1], sum[2], sum[3], to);
            }
        }
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
