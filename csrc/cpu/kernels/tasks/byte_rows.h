// What the int8 kernels of rows compute: sparse rows of s8 weights times a panel of u8 pixels.
#pragma once
#include <cstdint>

#include "kernels/tasks/byte_epilogue.h"
#include "weights/byte_entry.h"

namespace sovs {

// Sums are exact: no more columns than 2^16 - 1, so that they fit in 32 bits in the end.
struct ByteRowsTask {
    const ByteRowGroup* groups;
    std::int32_t group_count;
    const std::int32_t* row_ids;  // block rows, and kRowsAhead more
    const void* entries;          // ByteEntry of the block's rows
    const std::uint8_t* panel;
    const std::int32_t* start;  // (channels padded): what sums start from
    std::int32_t channels;      // of the layer: rows past it, in the last block, are not stored
    ByteEpilogue epilogue;
};

using ByteRowsKernel = void (*)(const ByteRowsTask&);

}  // namespace sovs
