// Turns weights as callers and files hold them, tap-major or dense, into the compact form.
#pragma once
#include <cstdint>

#include "weights/packed.h"

namespace sovs {

// Sparse weights whose columns are those of the flattened (kernel_h, kernel_w, in_channels).
struct TapMajorWeights {
    WeightSizes sizes;
    const std::int32_t* row_ptr;  // (block rows + 1)
    const void* indices;          // (blocks) columns, ascending in each row
    std::int64_t index_bits;      // 16 (unsigned) or 32 (signed)
    ValuesView values;            // (blocks, block.rows)
};

// Blocks leave channel-major, in the order of the sums. Throws InvalidArgument where the structure is damaged; row_ptr,
// indices and values must be as long as it says.
PackedWeights pack_sparse(const TapMajorWeights& weights);

// Every weight stored, in blocks of 4 where the groups allow it: the block of `sizes` is not read.
// weight: (out_channels, in_channels, kernel_h, kernel_w).
PackedWeights pack_dense(WeightSizes sizes, const ValuesView& weight);

// The weights of the convolution that takes output gradients of a stride-1 convolution to those of its input: channels
// swapped in each group, taps reversed, rows of one. Of float32 weights.
PackedWeights transpose(const PackedWeights& packed);

// Writes the dense weight that was packed, (out_channels, in_channels, kernel_h, kernel_w); s8 times its scale.
void unpack(const PackedWeights& packed, float* dense);

}  // namespace sovs
