// The int8 inner loop of depthwise convolutions: taps are interleaved where they lie in the map, without a panel.
#pragma once
#include <cassert>

#include "kernels/tasks/byte_depthwise.h"
#include "kernels/u8s8/byte_epilogue.h"
#include "kernels/vec/byte_vec.h"
#include "weights/byte_entry.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// Four taps of a channel and their weights.
struct TapQuad {
    const std::uint8_t *pixels[4], *masks[4];
    const std::int8_t* weights;
};

template <bool kPlain, int kVectors>
inline void depthwise_run(const ByteDepthwiseTask& task, const TapQuad* quads, std::int32_t pixel) {
    const Bytes zero = Bytes::all(task.zero);
    Sums sums[1][kVectors][4];
    SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) SOVS_UNROLL
    for (int q = 0; q < 4; ++q) sums[0][j][q] = Sums::held(task.start);
    for (const TapQuad* quad = quads; quad != quads + task.count; ++quad) {
        const Bytes weights = Bytes::weights(quad->weights);
        SOVS_UNROLL
        for (int j = 0; j < kVectors; ++j) {
            const std::int32_t at = pixel + j * Bytes::kCount;
            Bytes taps[4], interleaved[4];
            SOVS_UNROLL
            for (int t = 0; t < 4; ++t)
                taps[t] = Bytes::blend(Bytes::load(quad->masks[t] + at), Bytes::load(quad->pixels[t] + at), zero);
            Bytes::interleave(taps[0], taps[1], taps[2], taps[3], interleaved);
            SOVS_UNROLL
            for (int q = 0; q < 4; ++q) sums[0][j][q] = Bytes::dot(sums[0][j][q], interleaved[q], weights);
        }
    }
    ByteEpilogue epilogue = task.epilogue;
    if (epilogue.floats != nullptr)
        epilogue.floats += pixel;
    else
        epilogue.out += pixel;
    if (epilogue.residual != nullptr) epilogue.residual += pixel;
    if (epilogue.float_residual != nullptr) epilogue.float_residual += pixel;
    leave_rows<kPlain>(epilogue, task.channel, task.channel + 1, sums);
}

template <bool kPlain>
[[gnu::noinline]] void byte_depthwise_of(const ByteDepthwiseTask& task) {
    assert(task.count <= kMostDepthwiseEntries);
    const auto* entry = static_cast<const ByteEntry<1>*>(task.entries);
    TapQuad quads[kMostDepthwiseEntries];
    for (std::int32_t i = 0; i < task.count; ++i, ++entry) {
        for (int t = 0; t < 4; ++t) {
            const std::int32_t tap = entry->lines[t] - task.first;
            quads[i].pixels[t] = task.line + task.shifts[tap];
            quads[i].masks[t] = task.masks + std::ptrdiff_t{tap} * task.width;
        }
        quads[i].weights = entry->weights[0];
    }
    constexpr int kMost = 2;
    std::int32_t pixel = 0;
    for (; pixel + Bytes::kCount < task.pixels; pixel += kMost * Bytes::kCount)
        depthwise_run<kPlain, kMost>(task, quads, pixel);
    if (pixel < task.pixels) depthwise_run<kPlain, 1>(task, quads, pixel);
}

inline void byte_depthwise(const ByteDepthwiseTask& task) {
    if (task.epilogue.is_plain()) return byte_depthwise_of<true>(task);
    byte_depthwise_of<false>(task);
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
