// What there is to tune of int8 and bf16 convolutions: the windows that their panels hold.
#pragma once
#include <cstdint>
#include <vector>

#include "conv/tiling.h"
#include "maps/tensor.h"

namespace sovs {

// Pixels of a window: `chosen`, or what the tuning wants, in whole lines from one to `most`.
std::int64_t tuned_width(const Tuning& tuning, const TensorDesc& output, std::int64_t chosen, std::int64_t most);

// The empty one first, which takes the width that is chosen; then the others that cut a tile evenly.
std::vector<Tuning> width_candidates(const TensorDesc& output, std::int64_t chosen, std::int64_t most_width,
                                     std::size_t most);

// As tables of plans show it: a run of `width` pixels, in the input's tile or in a panel of all input channels' taps.
Tiling byte_tiling(std::int64_t width, std::int64_t channels, int parts, bool in_place);

}  // namespace sovs
