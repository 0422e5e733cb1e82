// What the kernels of rows compute: sparse rows times a panel of pixels.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/tasks/epilogue.h"
#include "weights/row_groups.h"

namespace sovs {

// All rows of one K-tile times one panel of pixels.
struct RowsTask {
    const RowGroup* groups;
    std::int32_t group_count;
    const std::int32_t* row_ids;  // block row ids
    const Entry* entries;         // blocks of 1
    const std::int32_t* offsets;  // blocks of 4: bytes
    const float* weights;         // blocks of 4: (entries, 4)
    const float* panel;           // fastest on a cache line; readable for the offsets plus `vectors` vectors
    const float* bias;            // padded with zeros to whole block rows
    bool first;                   // sums start from the bias, else from `sums`
    bool last;                    // sums are final
    float* sums;                  // (rows padded to whole block rows, sums_stride)
    std::ptrdiff_t sums_stride;   // floats between channels of `sums`
    std::int32_t pixels;          // valid pixels, (vectors - 1) * width < pixels <= vectors * width
    std::int32_t channels;        // of the layer: rows past it, in the last block, have no epilogue
    // Final sums go through it if its `out`, where pixels lie side by side, is not null; else to `sums`.
    Epilogue epilogue;
};

using RowsKernel = void (*)(const RowsTask&);

}  // namespace sovs
