// Dense s8 weights as the int8 kernel of dense rows reads them: quads of columns that lie together in the panel.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "weights/packed.h"

namespace sovs {

// A quad is one tap of four neighbouring input channels; zeros fill up the last ones.
inline std::int64_t quads_of(const WeightSizes& sizes) { return (sizes.in_channels + 3) / 4 * sizes.taps(); }

struct ByteQuads {
    int rows;                            // output channels that the kernel multiplies at a time
    AlignedBuffer<std::int8_t> weights;  // (ceil(out_channels / rows), quads, rows, 4)
    std::vector<std::int64_t> sums;      // (out_channels): of a channel's weights

    std::size_t bytes() const { return weights.bytes() + sums.size() * sizeof(std::int64_t); }
};

// Of weights without groups; what is not stored is 0.
ByteQuads make_byte_quads(const PackedWeights& packed, int rows);

// The weights with all columns stored. scales: (out_channels).
PackedWeights pack_byte_quads(const ByteQuads& quads, const WeightSizes& sizes, const float* scales);

}  // namespace sovs
