// Where a tile's panel keeps the pixel that a kernel tap reads for the tile's first output pixel.
//
// A panel holds, for each channel of a K-tile, one or more sub-panels of pixels in rows of `pitch` floats. Output pixel
// (r, c) of a tile is lane r * pitch + c, and the tap's weight meets the float `tap offset` lanes further on: one
// constant for all pixels, so that a convolution is a sparse matrix times a panel.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "weights/conv_shape.h"

namespace sovs {

enum class PanelKind { halo, shifted, taps };

// Pixels (origin_y + r * stride_h, origin_x + c * stride_w), r < rows, c < cols, relative to the first tap of the
// tile's first output pixel.
struct SubPanel {
    std::int64_t origin_y, origin_x;
    std::int32_t rows, cols;
    std::ptrdiff_t start;  // floats from the channel's begin
};

// The least room that a panel leaves, so that tiles of several sizes meet the same offsets.
struct PanelRoom {
    std::int32_t pitch = 0;       // used where offsets depend on it
    std::ptrdiff_t sub_size = 0;  // floats of a sub-panel, a multiple of the vector's
};

struct PanelLayout {
    PanelKind kind;
    std::int32_t tile_rows, tile_cols;
    std::int32_t pitch;             // floats between two pixel rows of the tile
    std::int32_t lanes;             // (tile_rows - 1) * pitch + tile_cols, rounded up to whole vectors
    std::ptrdiff_t sub_size;        // floats from one sub-panel to the next one
    std::ptrdiff_t channel_stride;  // floats
    std::vector<SubPanel> sub_panels;
    std::vector<std::ptrdiff_t> tap_offsets;  // floats, by tap in (ky, kx) order

    PanelLayout(const ConvShape& shape, PanelKind kind, std::int32_t tile_rows, std::int32_t tile_cols, int width,
                PanelRoom room = {});

    PanelRoom room() const { return {pitch, sub_size}; }
    // Kernels read the same weight streams.
    bool same_offsets(const PanelLayout& other) const {
        return channel_stride == other.channel_stride && tap_offsets == other.tap_offsets;
    }
};

// All that a stream of weights depends on.
struct StreamLayout {
    PanelLayout panel;
    std::int64_t k_tile;  // channels
    int parts;            // of the output channels
};

}  // namespace sovs
