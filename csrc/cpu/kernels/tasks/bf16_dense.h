// What the bf16 kernels of dense rows compute: dense bf16 weights times a panel of pairs of pixels.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/tasks/bf16_epilogue.h"

namespace sovs {

// Pairs of two columns' pixels, for each of `taps`: tap t of pixel p of channel c is lines[c][shifts[t] + 2 p bytes] where the
// pixel's two bytes in masks are 255, 0 where they are 0. A panel holds one vector of pixels, a pair two lines of it: the pairs
// in the order that interleaving leaves.
struct Bf16PairTask {
    const std::uint8_t* lines[2];
    const std::int32_t* shifts;  // bytes
    const std::uint8_t* masks;   // (taps, mask_bytes); null where all are 255
    std::ptrdiff_t mask_bytes;
    std::int32_t taps, vectors;
    std::uint8_t* panel;         // the first tap's place in the first one's panel
    std::ptrdiff_t panel_bytes;  // from one vector's panel to the next one's
};

// Sums take the pairs in their order, some of them a call. They start from the bias, and add each pair's products as those of
// rows do. On AMX they start from 0 and the bias comes last; of 16 pairs the first products and the second ones are summed
// apart, then added.
struct Bf16DenseTask {
    const std::uint8_t* panel;  // (vectors, pairs, two lines), panel_bytes from one vector to the next one
    std::ptrdiff_t panel_bytes;
    std::int32_t vectors, pairs;   // pairs: of this call, whole blocks of them
    const std::uint16_t* weights;  // see Bf16Matrix; those of the call's first pair
    std::ptrdiff_t block_weights;  // numbers from one block of output channels to the next one
    std::int32_t first, blocks;    // of output channels
    bool begins, ends;             // with the layer's first pair, with its last one
    // Of the first block: sums on their way. block_sums floats from one block to the next one; 0 where they all end here.
    float* sums;
    std::ptrdiff_t block_sums;
    const float* bias;      // (channels padded to whole blocks)
    std::int32_t channels;  // of the layer: rows past it are not stored
    Bf16Epilogue epilogue;
};

}  // namespace sovs
