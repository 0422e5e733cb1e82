// The bf16 inner loops: rows of 1 or 4 output channels times any two columns of a panel at a time, which are interleaved on
// the way into a dot product (see kernels/u8s8/byte_rows.h).
#pragma once
#include <cstring>

#include "base/byte_line.h"
#include "kernels/bf16/bf16_epilogue.h"
#include "kernels/tasks/bf16_rows.h"

namespace sovs::SOVS_ISA_NAMESPACE {

template <int kBlock, int kVectors>
void bf16_rows(const Bf16RowsTask& task) {
    using Stored = PairEntry<kBlock>;
    const auto* entry = static_cast<const Stored*>(task.entries);
    const std::int32_t* row = task.row_ids;
    for (const ByteRowGroup* group = task.groups; group != task.groups + task.group_count; ++group) {
        const std::int32_t count = group->entries;
        for (std::int32_t i = 0; i < group->block_rows; ++i, ++row) {
            fetch<kVectors>(task.epilogue, std::int64_t{kBlock} * row[kRowsAhead], kBlock);
            const std::int64_t channel = std::int64_t{kBlock} * *row;
            Floats sums[kBlock][kVectors][2];
            SOVS_UNROLL
            for (int r = 0; r < kBlock; ++r) {
                const Floats start = Floats::all(task.bias[channel + r]);
                SOVS_UNROLL
                for (int j = 0; j < kVectors; ++j) sums[r][j][0] = sums[r][j][1] = start;
            }
            for (const Stored* end = entry + count; entry != end; ++entry) {
                std::uint32_t lines;  // one load for both
                std::memcpy(&lines, entry->lines, sizeof lines);
                asm("" : "+r"(lines));
                const std::uint8_t* a = task.panel + kByteLine * (lines & 0xFFFF);
                const std::uint8_t* b = task.panel + kByteLine * (lines >> 16);
                Halves weights[kBlock];
                SOVS_UNROLL
                for (int r = 0; r < kBlock; ++r) weights[r] = Halves::weights(entry->weights[r]);
                SOVS_UNROLL
                for (int j = 0; j < kVectors; ++j) {
                    Halves pairs[2];
                    Halves::interleave(Halves::held(a + j * kByteLine), Halves::held(b + j * kByteLine), pairs);
                    SOVS_UNROLL
                    for (int r = 0; r < kBlock; ++r) SOVS_UNROLL
                    for (int h = 0; h < 2; ++h) sums[r][j][h] = Halves::dot(sums[r][j][h], pairs[h], weights[r]);
                }
            }
            SOVS_UNROLL
            for (int r = 0; r < kBlock; ++r)
                if (channel + r < task.channels) leave<kVectors>(task.epilogue, channel + r, sums[r]);
        }
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
