// The tiles that a convolution's output is cut into, and the panels of input pixels that they read.
#pragma once
#include "conv/tiling.h"
#include "steps/step.h"
#include "weights/stream.h"

namespace sovs {

// A rectangle of output pixels of one image; of a pointwise convolution, a run of pixels of all images.
struct ConvTile {
    std::int64_t image, y, x;  // the first pixel
    std::int32_t rows, cols;
    std::int32_t lanes;  // with the pitch between rows
    int vectors;
};

class ConvTiles {
public:
    ConvTiles(const ConvShape& shape, const TensorDesc& input, const TensorDesc& output, const Tiling& tiling);

    const Tiling& tiling() const { return tiling_; }
    const PanelLayout& panel() const { return panel_; }
    std::ptrdiff_t panel_floats() const { return panel_floats_; }

    Range writes(long unit) const;
    ConvTile at(long unit, std::int64_t column) const;
    std::int64_t first_pixel(const ConvTile& tile) const;
    // The place of lane 0 in a map of outputs if all lanes of the tile are a run there, else null.
    float* direct(const ConvTile& tile, const Map& map) const;
    // Fills the panel; of smaller tiles at the map's edge, the floats that no pixel of theirs reads keep what they held.
    void pack(const ConvTile& tile, const KTile& k_tile, const Map& input, float* panel) const;

private:
    void pack_row(const KTile& k_tile, const Map& input, std::int64_t row_pixel, std::int64_t x, std::int64_t stride,
                  std::int32_t cols, float* panel) const;

    ConvShape shape_;
    TensorDesc input_, output_;
    Tiling tiling_;
    PanelLayout panel_;
    std::ptrdiff_t panel_floats_;
};

}  // namespace sovs
