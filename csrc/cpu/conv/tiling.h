// Cuts an output map into tiles and chooses the sizes that a convolution runs with.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernel_table.h"
#include "weights/conv_shape.h"
#include "weights/panel_layout.h"
#include "maps/tensor.h"

namespace sovs {

// Zero in a field means: choose.
struct Tuning {
    std::int64_t tile_rows = 0, tile_cols = 0, k_tile = 0, row_parts = 0, panel = 0;
};

// Tiles of output pixels: rectangles in an image, units of whole rows; where a convolution is pointwise (`flat`), runs
// of pixels that may span images.
struct Grid {
    bool flat;
    std::int64_t units;             // tile rows of all images, or runs
    std::int64_t tiles_y, tiles_x;  // of an image; tiles_x is 1 for runs
};

struct Tiling {
    PanelKind panel;
    std::int32_t tile_rows, tile_cols;
    std::int64_t k_tile;
    int row_parts;
    int stream_parts;  // that the weight stream is split in: at least row_parts
    PanelRoom room;
    bool in_place;  // tiles are those of the input map, which needs no panel
    Grid grid;
};

// What a layer's weights ask of its tiling.
struct WeightDemands {
    double density;
    std::int64_t block_rows;
    // Streams that are held anyway: a tiling that can read one of them is taken unless it costs too much time.
    std::vector<StreamLayout> live;
    // Memory comes first: a stream should serve as many sizes as possible.
    bool held_once;
};

Tiling choose_tiling(const ConvShape& shape, const TensorDesc& input, const WeightDemands& weights,
                     const Tuning& wanted, const KernelTable& table, int threads);

// Tunings worth timing, at most `most` of them: what choose_tiling takes for one thread, then others that are expected
// to be about as fast, of several kinds.
std::vector<Tuning> candidate_tunings(const ConvShape& shape, const TensorDesc& input, const WeightDemands& weights,
                                      const KernelTable& table, std::size_t most);

}  // namespace sovs
