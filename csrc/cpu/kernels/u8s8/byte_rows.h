// The int8 inner loops: rows of 1, 2 or 4 output channels times any four columns of a panel at a time.
//
// The columns lie pixel by pixel; interleaving them on the way into a dot product lets the weights be any: an unstructured
// mask has no neighbours to share a quad with. The order that this leaves the sums in is the one that narrowing undoes.
#pragma once
#include <cassert>
#include <cstring>

#include "base/byte_line.h"
#include "kernels/tasks/byte_rows.h"
#include "kernels/u8s8/byte_epilogue.h"
#include "kernels/vec/byte_vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// Blocks of kBlock output channels, kRows of them at a time: as many as the registers hold sums of.
template <bool kPlain, int kBlock, int kRows, int kVectors>
[[gnu::noinline]] void byte_rows_of(const ByteRowsTask& task) {
    using Stored = ByteEntry<kBlock>;
    static_assert(kBlock % kRows == 0);
    const auto* entry = static_cast<const Stored*>(task.entries);
    const std::int32_t* row = task.row_ids;
    for (const ByteRowGroup* group = task.groups; group != task.groups + task.group_count; ++group) {
        const std::int32_t count = group->entries;
        for (std::int32_t i = 0; i < group->block_rows; ++i, ++row, entry += count) {
            fetch<kPlain, kVectors>(task.epilogue, std::int64_t{kBlock} * row[kRowsAhead], kBlock);
            for (int first = 0; first < kBlock; first += kRows) {
                const std::int64_t channel = std::int64_t{kBlock} * *row + first;
                Sums sums[kRows][kVectors][4];
                SOVS_UNROLL
                for (int r = 0; r < kRows; ++r) {
                    const Sums start = Sums::all(task.start[channel + r]);
                    SOVS_UNROLL
                    for (int j = 0; j < kVectors; ++j) SOVS_UNROLL
                    for (int q = 0; q < 4; ++q) sums[r][j][q] = start;
                }
                for (const Stored* e = entry; e != entry + count; ++e) {
                    std::uint64_t lines;  // one load for all four
                    std::memcpy(&lines, e->lines, sizeof lines);
                    asm("" : "+r"(lines));
                    const std::uint8_t* a = task.panel + kByteLine * (lines & 0xFFFF);
                    const std::uint8_t* b = task.panel + kByteLine * (lines >> 16 & 0xFFFF);
                    const std::uint8_t* c = task.panel + kByteLine * (lines >> 32 & 0xFFFF);
                    const std::uint8_t* d = task.panel + kByteLine * (lines >> 48);
                    SOVS_UNROLL
                    for (int j = 0; j < kVectors; ++j) {
                        const int at = j * Bytes::kCount;
                        Bytes quads[4];
                        Bytes::interleave(Bytes::held(a + at), Bytes::held(b + at), Bytes::held(c + at),
                                          Bytes::held(d + at), quads);
                        SOVS_UNROLL
                        for (int r = 0; r < kRows; ++r) {
                            const Bytes weights = Bytes::weights(e->weights[first + r]);
                            SOVS_UNROLL
                            for (int q = 0; q < 4; ++q) sums[r][j][q] = Bytes::dot(sums[r][j][q], quads[q], weights);
                        }
                    }
                }
                leave_rows<kPlain>(task.epilogue, channel, task.channels, sums);
            }
        }
    }
}

template <int kBlock, int kRows, int kVectors>
void byte_rows(const ByteRowsTask& task) {
    if (task.epilogue.is_plain()) return byte_rows_of<true, kBlock, kRows, kVectors>(task);
    byte_rows_of<false, kBlock, kRows, kVectors>(task);
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
