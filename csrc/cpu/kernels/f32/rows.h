// The inner loops: sparse rows times a panel of pixels, in blocks of 1 and of 4 output channels.
#pragma once
#include <cassert>
#include <cstring>

#include "kernels/f32/epilogue.h"
#include "kernels/tasks/rows.h"
#include "kernels/vec/vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

inline const float* at(const float* panel, std::int32_t byte_offset) {
    return reinterpret_cast<const float*>(reinterpret_cast<const char*>(panel) + byte_offset);
}

#if defined(SOVS_WIDTH_16)
// One load for both halves of an entry: loads bind the loop, the port that broadcasts from a register is idle.
inline Vec weight_of(const Entry* entry, const float*& pixels) {
    std::uint64_t both;
    std::memcpy(&both, entry, sizeof both);
    asm("" : "+r"(both));  // else the compiler makes two loads of it again
    pixels = reinterpret_cast<const float*>(reinterpret_cast<const char*>(pixels) + (both >> 32));
    return Vec::broadcast_bits(static_cast<int>(both));
}
#else
inline Vec weight_of(const Entry* entry, const float*& pixels) {
    pixels = at(pixels, entry->offset);
    return Vec::broadcast(&entry->weight);
}
#endif

// Whether the sums of this call go to the map.
inline bool leaves(const RowsTask& task) { return task.last && task.epilogue.out != nullptr; }

// What every call must keep to; checked once a call, far from the inner loops.
template <int kVectors>
inline void check_contract(const RowsTask& task) {
    constexpr int W = Vec::kWidth;
    assert(task.pixels > (kVectors - 1) * W && task.pixels <= kVectors * W);
    assert(task.first || task.sums != nullptr);
    assert(leaves(task) || (task.sums != nullptr && task.sums_stride >= kVectors * W));
    assert(task.epilogue.out == nullptr ? task.epilogue.residual == nullptr : task.epilogue.pixel_stride == 1);
}

template <int kVectors>
inline void start(const RowsTask& task, std::int64_t channel, Vec (&sum)[kVectors]) {
    constexpr int W = Vec::kWidth;
    if (task.first) {
        const Vec bias = Vec::broadcast(task.bias + channel);
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) sum[j] = bias;
    } else {
        const float* place = task.sums + channel * task.sums_stride;
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) sum[j] = Vec::load(place + j * W);
    }
}

// The other end: final sums go through the epilogue, others to the tile's buffer.
template <int kVectors>
inline void end(const RowsTask& task, std::int64_t channel, Vec (&sum)[kVectors]) {
    constexpr int W = Vec::kWidth;
    if (!leaves(task)) {
        float* place = task.sums + channel * task.sums_stride;
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) sum[j].store(place + j * W);
        return;
    }
    if (channel < task.channels) finish(task.epilogue, channel, task.pixels, sum);
}

// What the epilogue does once no sums of these rows are in registers any more.
inline void end_rows(const RowsTask& task, std::int64_t channel, int rows) {
    if (!leaves(task) || !has_rest(task.epilogue)) return;
    for (const std::int64_t end = channel + rows; channel < end && channel < task.channels; ++channel)
        finish_rest(task.epilogue, channel, task.pixels);
}

// One output channel at a time: kVectors sums stay in registers, activations are memory operands of the FMAs.
template <int kVectors>
void rows1(const RowsTask& task) {
    constexpr int W = Vec::kWidth;
    check_contract<kVectors>(task);
    for (const RowGroup* group = task.groups; group != task.groups + task.group_count; ++group) {
        const Entry* entry = task.entries + group->first_entry;
        const std::int32_t* row = task.row_ids + group->first_row;
        const int count = group->entries;
        for (int i = 0; i < group->block_rows; ++i) {
            const std::int64_t channel = row[i];
            Vec sum[kVectors];
            start(task, channel, sum);
            for (int k = 0; k < count; ++k, ++entry) {
                const float* pixels = task.panel;
                const Vec weight = weight_of(entry, pixels);
                SOVS_UNROLL
                for (int j = 0; j < kVectors; ++j) sum[j] = Vec::fma(weight, Vec::load(pixels + j * W), sum[j]);
            }
            end(task, channel, sum);
            end_rows(task, channel, 1);
        }
    }
}

// Four output channels that share their columns: each activation that is loaded feeds four FMAs.
template <int kVectors>
void rows4(const RowsTask& task) {
    constexpr int W = Vec::kWidth;
    check_contract<kVectors>(task);
    for (const RowGroup* group = task.groups; group != task.groups + task.group_count; ++group) {
        const float* weight = task.weights + group->first_entry * 4;
        const std::int32_t* offsets = task.offsets + group->first_offset;
        const std::int32_t* row = task.row_ids + group->first_row;
        const int count = group->entries;
        for (int i = 0; i < group->block_rows; ++i, offsets += group->offset_step) {
            const std::int64_t channel = std::int64_t{4} * row[i];
            Vec sum[4][kVectors];
            SOVS_UNROLL
            for (int r = 0; r < 4; ++r) start(task, channel + r, sum[r]);
            for (int k = 0; k < count; ++k, weight += 4) {
                const float* pixels = at(task.panel, offsets[k]);
                Vec x[kVectors];
                SOVS_UNROLL
                for (int j = 0; j < kVectors; ++j) x[j] = Vec::load(pixels + j * W);
                SOVS_UNROLL
                for (int r = 0; r < 4; ++r) {
                    const Vec w = Vec::broadcast(weight + r);
                    SOVS_UNROLL
                    for (int j = 0; j < kVectors; ++j) sum[r][j] = Vec::fma(w, x[j], sum[r][j]);
                }
            }
            SOVS_UNROLL
            for (int r = 0; r < 4; ++r) end(task, channel + r, sum[r]);
            end_rows(task, channel, 4);
        }
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
