// What the int8 kernels of rows compute: sparse rows of s8 weights times a panel of u8 pixels.
#pragma once
#include <cstddef>
#include <cstdint>

#include "weights/byte_entry.h"

namespace sovs {

// How sums become numbers of the output's map: float(sum) * scale + offset [+ float(residual) * residual_scale], each
// operation rounded; then at most `most`, rounded half to even, from 0 to 255 and at least `least`.
struct ByteEpilogue {
    const float *scale, *offset;   // (channels padded to whole block rows)
    const std::uint8_t* residual;  // as `out`, or null
    float residual_scale;
    float most;
    std::uint8_t least;
    std::uint8_t* out;      // pixel 0 of channel 0
    std::ptrdiff_t stride;  // bytes between channels of `out` and of `residual`
};

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
