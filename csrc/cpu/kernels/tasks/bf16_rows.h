// What the bf16 kernel of rows computes: sparse rows of bf16 weights times a panel of bf16 pixels.
#pragma once
#include <cstdint>

#include "kernels/tasks/bf16_epilogue.h"
#include "weights/byte_entry.h"

namespace sovs {

// Sums start from the bias and take one entry after the other, in fp32: of its two products the instruction adds first the
// second one, then the first one, each sum rounded half to even; numbers below 2^-126 count as 0.
struct Bf16RowsTask {
    const ByteRowGroup* groups;
    std::int32_t group_count;
    const std::int32_t* row_ids;  // block rows, and kRowsAhead more
    const void* entries;          // PairEntry of the block's rows
    const std::uint8_t* panel;
    const float* bias;      // (channels padded)
    std::int32_t channels;  // of the layer: rows past it, in the last block, are not stored
    Bf16Epilogue epilogue;
};

using Bf16RowsKernel = void (*)(const Bf16RowsTask&);

}  // namespace sovs
