// The bf16 inner loop of dense rows: all of them read the same pairs, which are interleaved once.
#pragma once
#include "base/byte_line.h"
#include "kernels/bf16/bf16_epilogue.h"
#include "kernels/tasks/bf16_dense.h"

namespace sovs::SOVS_ISA_NAMESPACE {

inline void bf16_pair(const Bf16PairTask& task) {
    for (std::int32_t v = 0; v < task.vectors; ++v) {
        std::uint8_t* to = task.panel + v * task.panel_bytes;
        for (std::int32_t t = 0; t < task.taps; ++t, to += 2 * kByteLine) {
            const std::ptrdiff_t from = task.shifts[t] + v * kByteLine;
            const std::uint32_t mask = task.masks[t * task.vectors + v];
            Halves pairs[2];
            Halves::interleave(Halves::load(task.lines[0] + from, mask), Halves::load(task.lines[1] + from, mask), pairs);
            pairs[0].store(to);
            pairs[1].store(to + kByteLine);
        }
    }
}

// The epilogue of a vector of pixels that is not the first one.
inline Bf16Epilogue further(Bf16Epilogue e, std::int32_t vectors) {
    e.out += vectors * Halves::kCount;
    if (e.residual != nullptr) e.residual += vectors * Halves::kCount;
    return e;
}

template <int kRows>
void bf16_dense(const Bf16DenseTask& task) {
    for (std::int32_t block = task.first; block < task.first + task.blocks; ++block)
        for (std::int32_t v = 0; v < task.vectors; ++v) {
            const std::int64_t channel = std::int64_t{kRows} * block;
            const Bf16Epilogue epilogue = further(task.epilogue, v);
            fetch<1>(epilogue, channel, kRows);
            Floats sums[kRows][1][2];
            SOVS_UNROLL
            for (int r = 0; r < kRows; ++r) {
                sums[r][0][0] = Floats::all(task.bias[channel + r]);
                sums[r][0][1] = sums[r][0][0];
                asm("" : "+v"(sums[r][0][1].v));  // in a register of its own: else GCC spills them
            }
            const std::uint16_t* weights = task.weights + std::ptrdiff_t{2 * kRows} * block * task.pairs;
            const std::uint8_t* panel = task.panel + v * task.panel_bytes;
            for (std::int32_t k = 0; k < task.pairs; ++k, panel += 2 * kByteLine, weights += 2 * kRows) {
                const Halves low = Halves::held(panel), high = Halves::held(panel + kByteLine);
                SOVS_UNROLL
                for (int r = 0; r < kRows; ++r) {
                    const Halves row = Halves::weights(weights + 2 * r);
                    sums[r][0][0] = Halves::dot(sums[r][0][0], low, row);
                    sums[r][0][1] = Halves::dot(sums[r][0][1], high, row);
                }
            }
            SOVS_UNROLL
            for (int r = 0; r < kRows; ++r)
                if (channel + r < task.channels) leave<1>(epilogue, channel + r, sums[r]);
        }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
