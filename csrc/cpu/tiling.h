// Cuts an output map into tiles and chooses the sizes that a convolution runs with.
#pragma once
#include <cstdint>

#include "kernels/kernel_table.h"
#include "panel_layout.h"

namespace sovs {

enum class Layout { nchw, nhwc };

struct TensorDesc {
    std::int64_t n, c, h, w;
    Layout layout;
    std::int64_t count() const { return n * c * h * w; }
};

// Zero in a field means: choose.
struct Tuning {
    std::int64_t tile_rows = 0, tile_cols = 0, k_tile = 0, row_parts = 0, panel = 0;
};

// The map as the tiles see it. A pointwise conv sees one flat run of pixels per image, and a single run where the
// images follow each other pixel by pixel (channels_last).
struct Grid {
    std::int64_t images, in_h, in_w, out_h, out_w;
    bool flat;         // tiles are runs of images * out_w pixels and may span images
    std::int64_t tiles_y, tiles_x;
    std::int64_t tiles() const { return flat ? tiles_x : images * tiles_y * tiles_x; }
};

struct Tiling {
    PanelKind panel;
    std::int32_t tile_rows, tile_cols;
    std::int64_t k_tile;
    int row_parts;
    Grid grid;
};

Tiling choose_tiling(const ConvShape& shape, const TensorDesc& input, double density, std::int64_t block_rows,
                     const Tuning& wanted, const KernelTable& table, int threads);

}  // namespace sovs
