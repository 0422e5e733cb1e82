// What the int8 kernel of dense rows computes: dense s8 weights times a panel of quads of u8 pixels.
#pragma once
#include <cstdint>

#include "kernels/tasks/byte_epilogue.h"

namespace sovs {

// A panel holds one vector of pixels: a quad is four columns' bytes of a pixel side by side, in the order that interleaving
// them leaves.
struct ByteQuadTask {
    const std::uint8_t* columns[4];
    std::int32_t vectors;        // of pixels
    std::uint8_t* panel;         // the quad's place in the first one's panel, a line
    std::ptrdiff_t panel_bytes;  // from one vector's panel to the next one's
};

// Sums are exact: no more columns than 2^16 - 1, so that they fit in 32 bits in the end.
struct ByteDenseTask {
    const std::uint8_t* panel;  // (quads, four vectors)
    std::int32_t quads;
    const std::int8_t* weights;  // (blocks, quads, rows, 4)
    std::int32_t first, blocks;  // of `rows` output channels
    const std::int32_t* start;   // (channels padded to whole blocks): what sums start from
    std::int32_t channels;       // of the layer: rows past it are not stored
    ByteEpilogue epilogue;
};

}  // namespace sovs
