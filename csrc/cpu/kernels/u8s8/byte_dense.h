// The int8 inner loop of dense rows: all of them read the same quads, which are interleaved once.
#pragma once
#include "kernels/tasks/byte_dense.h"
#include "kernels/u8s8/byte_epilogue.h"
#include "kernels/vec/byte_vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

inline void byte_quad(const ByteQuadTask& task) {
    std::uint8_t* to = task.panel;
    for (std::int32_t v = 0; v < task.vectors; ++v, to += task.panel_bytes) {
        const std::int32_t at = v * Bytes::kCount;
        Bytes quads[4];
        Bytes::interleave(Bytes::held(task.columns[0] + at), Bytes::held(task.columns[1] + at),
                          Bytes::held(task.columns[2] + at), Bytes::held(task.columns[3] + at), quads);
        SOVS_UNROLL
        for (int q = 0; q < 4; ++q) quads[q].store(to + q * Bytes::kCount);
    }
}

template <bool kPlain, int kRows>
[[gnu::noinline]] void byte_dense_of(const ByteDenseTask& task) {
    const std::int8_t* weights = task.weights + std::ptrdiff_t{4 * kRows} * task.first * task.quads;
    for (std::int32_t block = task.first; block < task.first + task.blocks; ++block) {
        const std::int64_t channel = std::int64_t{kRows} * block;
        fetch<kPlain, 1>(task.epilogue, channel, kRows);
        Sums sums[kRows][1][4];
        SOVS_UNROLL
        for (int r = 0; r < kRows; ++r) {
            SOVS_UNROLL
            for (int q = 0; q < 4; ++q) sums[r][0][q] = Sums::held(task.start[channel + r]);
        }
        const std::uint8_t* panel = task.panel;
        for (std::int32_t k = 0; k < task.quads; ++k, panel += 4 * Bytes::kCount, weights += 4 * kRows) {
            Bytes quads[4];
            SOVS_UNROLL
            for (int q = 0; q < 4; ++q) quads[q] = Bytes::held(panel + q * Bytes::kCount);
            SOVS_UNROLL
            for (int r = 0; r < kRows; ++r) {
                const Bytes row = Bytes::weights(weights + 4 * r);
                SOVS_UNROLL
                for (int q = 0; q < 4; ++q) sums[r][0][q] = Bytes::dot(sums[r][0][q], quads[q], row);
            }
        }
        leave_rows<kPlain>(task.epilogue, channel, task.channels, sums);
    }
}

template <int kRows>
void byte_dense(const ByteDenseTask& task) {
    if (task.epilogue.is_plain()) return byte_dense_of<true, kRows>(task);
    byte_dense_of<false, kRows>(task);
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
