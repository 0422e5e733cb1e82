// Dense weights in bf16 as the kernel of dense rows reads them: pairs of columns that lie together in the panel.
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "weights/packed.h"

namespace sovs {

// What a kernel multiplies at a time.
struct Bf16Blocks {
    int rows, pairs;

    auto operator<=>(const Bf16Blocks&) const = default;
};

// A pair is one tap of two neighbouring input channels; zeros fill up the last one, and the last block.
inline std::int64_t pairs_of(const WeightSizes& sizes, const Bf16Blocks& blocks) {
    const std::int64_t pairs = (sizes.in_channels + 1) / 2 * sizes.taps();
    return (pairs + blocks.pairs - 1) / blocks.pairs * blocks.pairs;
}

struct Bf16Matrix {
    Bf16Blocks blocks;
    AlignedBuffer<std::uint16_t> weights;  // (ceil(out_channels / rows), all pairs / pairs, rows, pairs, 2)

    std::size_t bytes() const { return weights.bytes(); }
};

// Of weights without groups; what is not stored is 0.
Bf16Matrix make_bf16_matrix(const PackedWeights& packed, const Bf16Blocks& blocks);

// The weights with all columns stored, as they were rounded.
PackedWeights pack_bf16_matrix(const Bf16Matrix& matrix, const WeightSizes& sizes);

}  // namespace sovs
