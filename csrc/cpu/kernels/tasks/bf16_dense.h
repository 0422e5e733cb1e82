// What the bf16 kernels of dense rows compute: dense bf16 weights times a panel of pairs of pixels.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/tasks/bf16_epilogue.h"

namespace sovs {

// Pairs of two columns' pixels, for each of `taps`: tap t of pixel p of channel c is lines[c][shifts[t] + 2 p bytes] where the
// pixel's bit in masks (taps, vectors) is set, else 0. A panel holds one vector of pixels, a pair two lines of it: the pairs
// in the order that interleaving leaves.
struct Bf16PairTask {
    const std::uint8_t* lines[2];
    const std::int32_t* shifts;  // bytes
    const std::uint32_t* masks;
    std::int32_t taps, vectors;
    std::uint8_t* panel;         // the first tap's place in the first one's panel
    std::ptrdiff_t panel_bytes;  // from one vector's panel to the next one's
};

// Sums start from the bias and take the pairs in their order, as those of rows do.
struct Bf16DenseTask {
    const std::uint8_t* panel;  // (vectors, pairs, two lines), panel_bytes from one vector to the next one
    std::ptrdiff_t panel_bytes;
    std::int32_t vectors, pairs;   // pairs: whole blocks
    const std::uint16_t* weights;  // see Bf16Matrix
    std::int32_t first, blocks;    // of output channels
    const float* bias;             // (channels padded to whole blocks)
    std::int32_t channels;         // of the layer: rows past it are not stored
    Bf16Epilogue epilogue;
};

}  // namespace sovs
