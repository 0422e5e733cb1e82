// Turns weights as callers and files hold them, tap-major or dense, into the form that streams are expanded from.
#pragma once
#include "sparse_ovs.h"
#include "weights/weights.h"

namespace sovs {

// Blocks come tap-major and leave channel-major, the order of the sums: see sparse_ovs.h. Throws InvalidArgument where
// the structure is damaged; row_ptr, indices and values must be as long as it says.
Weights::Packed pack_sparse(const sovs_weights_desc& desc);

// Every weight stored, in blocks of 4 where the groups allow it: block_rows of `sizes` is not read. weight: (out_channels, in_channels, kernel_h, kernel_w).
Weights::Packed pack_dense(Weights::Packed sizes, const float* weight);

// The weights of the convolution that takes output gradients of a stride-1 convolution to those of its input: channels
// swapped in each group, taps reversed, rows of one.
Weights::Packed transpose(const Weights::Packed& packed);

}  // namespace sovs
