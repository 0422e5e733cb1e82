// Estimates how long a convolution takes, cut into tiles of some size.
#pragma once
#include "kernels/kernel_table.h"
#include "maps/tensor.h"
#include "weights/panel_layout.h"

namespace sovs {

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// What the tiles cut up: output rows and columns of `images` images, or one row of all pixels.
struct Area {
    bool flat;
    std::int64_t images, rows, cols;
    Area(const ConvShape& shape, const TensorDesc& input);
    std::int64_t tiles(std::int64_t tile_rows, std::int64_t tile_cols) const;
};

struct Candidate {
    PanelKind panel;
    std::int32_t rows, cols;
    std::int64_t k_tile;
    PanelRoom room;
    double cycles = 0.0;  // as the cost model estimates them
};

// Estimates the cycles of a whole convolution for a candidate. Only the order of the estimates matters; the constants
// were fitted to timings of all of CLIP RN50's layers at several sizes (docs/performance-log.md).
class CostModel {
public:
    CostModel(const ConvShape& shape, const Area& area, double density, std::int64_t block_rows,
              const KernelTable& table, int threads, bool in_place);

    // With the output channels in `parts` parts.
    double cycles(const Candidate& candidate, std::int64_t parts = 1) const;

private:
    double per_vector() const;
    int widest() const;
    double block_rows() const;
    std::int64_t touched(const PanelLayout& layout) const;
    double multiply(const PanelLayout& layout, const Candidate& candidate, double vectors) const;
    double rows(double vectors, double k_tiles) const;
    double pack(const PanelLayout& layout) const;

    const ConvShape& shape_;
    const Area& area_;
    double density_;
    bool fours_;
    const KernelTable& table_;
    int threads_;
    bool in_place_;
};

}  // namespace sovs
