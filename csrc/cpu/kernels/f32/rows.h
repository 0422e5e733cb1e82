// The inner loops: sparse rows times a panel of pixels, in blocks of 1 and of 4 output channels.
#pragma once
#include <cassert>
#include <cstring>

#include "kernels/f32/activation.h"
#include "kernels/kernel_table.h"
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

// What every call must keep to; checked once a call, far from the inner loops.
template <int kVectors>
inline void check_contract(const RowsTask& task) {
    constexpr int W = Vec::kWidth;
    assert(task.pixels > (kVectors - 1) * W && task.pixels <= kVectors * W);
    assert(task.first || task.sums != nullptr);
    assert((task.last && task.out != nullptr) || (task.sums != nullptr && task.sums_stride >= kVectors * W));
    assert(task.residual == nullptr || task.out != nullptr);
}

// Writes the final sums of one channel to its place in the output, or any sums to the tile's buffer. Activations that
// are more than a maximum come later: see activate_rows.
template <int kVectors>
inline void finish(const RowsTask& task, std::int64_t channel, Vec (&sum)[kVectors]) {
    constexpr int W = Vec::kWidth;
    if (!task.last || task.out == nullptr) {
        float* place = task.sums + channel * task.sums_stride;
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) sum[j].store(place + j * W);
        return;
    }
    if (channel >= task.channels) return;
    float* out = task.out + channel * task.channel_stride;
    const int tail = task.pixels - (kVectors - 1) * W;  // valid lanes of the last vector
    if (task.residual != nullptr) {
        const float* residual = task.residual + channel * task.channel_stride;
        SOVS_UNROLL
        for (int j = 0; j + 1 < kVectors; ++j) sum[j] = sum[j] + Vec::load(residual + j * W);
        constexpr int end = (kVectors - 1) * W;
        sum[kVectors - 1] =
            sum[kVectors - 1] + (tail == W ? Vec::load(residual + end) : Vec::load_first(residual + end, tail));
    }
    if (task.activation == Activation::relu)
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) sum[j] = Vec::relu(sum[j]);
    SOVS_UNROLL
    for (int j = 0; j + 1 < kVectors; ++j) sum[j].store(out + j * W);
    if (tail == W)
        sum[kVectors - 1].store(out + (kVectors - 1) * W);
    else
        sum[kVectors - 1].store_first(out + (kVectors - 1) * W, tail);
}

// The rest of finish, apart from it: a call takes the registers of all sums that are still to be stored.
inline void activate_rows(const RowsTask& task, std::int64_t channel, int rows) {
    if (task.activation <= Activation::relu || !task.last || task.out == nullptr) return;
    for (const std::int64_t end = channel + rows; channel < end && channel < task.channels; ++channel)
        activate(task.out + channel * task.channel_stride, task.pixels, task.activation);
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
            finish(task, channel, sum);
            activate_rows(task, channel, 1);
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
            for (int r = 0; r < 4; ++r) finish(task, channel + r, sum[r]);
            activate_rows(task, channel, 4);
        }
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
