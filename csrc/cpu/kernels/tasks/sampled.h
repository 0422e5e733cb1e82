// What the kernels of a weight's gradient compute: products sampled where weights are stored.
#pragma once
#include <cstddef>
#include <cstdint>

#include "weights/row_groups.h"

namespace sovs {

// The products of one K-tile's rows with one panel of pixels, sampled where weights are stored: for each of them, the sum
// over the tile's lanes of grad[its row] times what the weight meets in the panel.
struct SampledTask {
    const RowGroup* groups;
    std::int32_t group_count;
    const std::int32_t* row_ids;  // block row ids
    const Entry* entries;         // blocks of 1; their weights are not read
    const std::int32_t* offsets;  // blocks of 4: bytes
    const float* panel;           // readable for the offsets plus `vectors` vectors
    const float* grad;            // lane 0 of channel 0
    std::ptrdiff_t grad_stride;   // floats between channels
    std::int32_t lanes;           // valid lanes of grad, (vectors - 1) * width < lanes <= vectors * width
    std::int32_t channels;        // of grad: rows past it, in the last block, are zeros
    float* sums;                  // (entries, rows of a block): added to
};

using SampledKernel = void (*)(const SampledTask&);

}  // namespace sovs
