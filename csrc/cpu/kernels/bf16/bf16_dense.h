// The bf16 inner loop of dense rows: all of them read the same pairs, which are interleaved once.
#pragma once
#include "base/byte_line.h"
#include "kernels/bf16/bf16_epilogue.h"
#include "kernels/tasks/bf16_dense.h"

namespace sovs::SOVS_ISA_NAMESPACE {

template <bool kMasked>
inline void pair_taps(const Bf16PairTask& task) {
    for (std::int32_t t = 0; t < task.taps; ++t) {
        const std::uint8_t *first = task.lines[0] + task.shifts[t], *second = task.lines[1] + task.shifts[t];
        const std::uint8_t* mask = kMasked ? task.masks + t * task.mask_bytes : nullptr;
        std::uint8_t* to = task.panel + t * 2 * kByteLine;
        for (std::int32_t v = 0; v < task.vectors; ++v, to += task.panel_bytes) {
            const std::ptrdiff_t at = v * kByteLine;
            Halves a = Halves::load(first + at), b = Halves::load(second + at);
            if constexpr (kMasked) {
                const Halves inside = Halves::load(mask + at);
                a = a & inside;
                b = b & inside;
            }
            Halves pairs[2];
            Halves::interleave(a, b, pairs);
            pairs[0].store(to);
            pairs[1].store(to + kByteLine);
        }
    }
}

inline void bf16_pair(const Bf16PairTask& task) {
    task.masks == nullptr ? pair_taps<false>(task) : pair_taps<true>(task);
}

// A part of a task: a block of rows and a vector of pixels.
struct Bf16Part {
    const std::uint8_t* panel;
    const std::uint16_t* weights;
    float* sums;
    std::int64_t channel;
    Bf16Epilogue epilogue;
};

// Block by block, whose weights stay near for all vectors.
template <int kRows, typename Kernel>
inline void each_part(const Bf16DenseTask& task, Kernel&& kernel) {
    constexpr std::ptrdiff_t kSums = kRows * Halves::kCount;  // of a part
    for (std::int32_t block = 0; block < task.blocks; ++block)
        for (std::int32_t v = 0; v < task.vectors; ++v) {
            Bf16Epilogue epilogue = task.epilogue;
            epilogue.out += v * Halves::kCount;
            if (epilogue.residual != nullptr) epilogue.residual += v * Halves::kCount;
            kernel(Bf16Part{task.panel + v * task.panel_bytes, task.weights + (task.first + block) * task.block_weights,
                            task.sums + block * task.block_sums + v * kSums, std::int64_t{kRows} * (task.first + block),
                            epilogue});
        }
}

template <int kRows>
inline void dense_part(const Bf16DenseTask& task, const Bf16Part& part) {
    Floats sums[kRows][1][2];
    SOVS_UNROLL
    for (int r = 0; r < kRows; ++r) {
        SOVS_UNROLL
        for (int h = 0; h < 2; ++h) {
            sums[r][0][h] =
                task.begins ? Floats::all(task.bias[part.channel + r]) : Floats::load(part.sums + (2 * r + h) * 16);
            asm("" : "+v"(sums[r][0][h].v));  // in a register of its own: else GCC spills them
        }
    }
    const std::uint8_t* panel = part.panel;
    const std::uint16_t* weights = part.weights;
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
    for (int r = 0; r < kRows; ++r) {
        if (!task.ends) {
            sums[r][0][0].store(part.sums + 2 * r * 16);
            sums[r][0][1].store(part.sums + (2 * r + 1) * 16);
        } else if (part.channel + r < task.channels) {
            leave<1>(part.epilogue, part.channel + r, sums[r]);
        }
    }
}

template <int kRows>
void bf16_dense(const Bf16DenseTask& task) {
    each_part<kRows>(task, [&](const Bf16Part& part) {
        if (task.ends) fetch<1>(part.epilogue, part.channel, kRows);
        dense_part<kRows>(task, part);
    });
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
