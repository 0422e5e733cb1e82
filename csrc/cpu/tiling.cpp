#include "tiling.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "error.h"

namespace sovs {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

Grid make_grid(const ConvShape& shape, const TensorDesc& input) {
    Grid grid{input.n, input.h, input.w, shape.out_h(input.h), shape.out_w(input.w), shape.pointwise(), 0, 0};
    if (grid.flat) {
        grid.in_w = grid.out_w = input.h * input.w;
        grid.in_h = grid.out_h = 1;
        if (input.layout == Layout::nhwc) {
            grid.in_w = grid.out_w = input.n * grid.out_w;
            grid.images = 1;
        }
    }
    return grid;
}

struct Candidate {
    PanelKind panel;
    std::int32_t rows, cols;
    std::int64_t k_tile;
};

// Estimates the cycles of a whole convolution for a candidate. Only the order of the estimates matters; the constants
// were fitted to timings of all of CLIP RN50's layers at several sizes (docs/performance-log.md).
class CostModel {
public:
    CostModel(const ConvShape& shape, const Grid& grid, double density, std::int64_t block_rows, const KernelTable& table,
              int threads)
        : shape_(shape), grid_(grid), density_(density), fours_(block_rows == 4), table_(table), threads_(threads) {}

    double cycles(const Candidate& c) const {
        const PanelLayout layout(shape_, c.panel, c.rows, c.cols, table_.width);
        const double vectors = layout.lanes / table_.width;
        const double k_tiles = static_cast<double>(ceil_div(shape_.in_channels, c.k_tile)) * static_cast<double>(shape_.groups);
        const double tile = multiply(layout, c, vectors) + rows(vectors, k_tiles) + pack(layout) + kTileCycles;
        const std::int64_t tiles =
            ceil_div(grid_.flat ? 1 : grid_.out_h, c.rows) *
            ceil_div(grid_.flat ? grid_.images * grid_.out_w : grid_.out_w, c.cols) * (grid_.flat ? 1 : grid_.images);
        return tile * static_cast<double>(ceil_div(tiles, threads_) * threads_);
    }

private:
    static constexpr double kTileCycles = 300;
    static constexpr double kRowCycles = 10;
    static constexpr double kL1 = 32 * 1024;

    double per_vector() const { return table_.width == 16 ? 1.0 : 0.5; }
    int widest() const { return fours_ ? table_.max_vectors4 : table_.max_vectors1; }
    double block_rows() const { return static_cast<double>(shape_.out_channels) / (fours_ ? 4 : 1); }
    static double beyond_l1(double bytes) { return std::clamp(bytes / kL1 - 1.0, 0.0, 4.0); }

    // Stored weights times vectors. Short chains of sums wait for the FMA's latency; panels past the L1 slow the loads.
    double multiply(const PanelLayout& layout, const Candidate& c, double vectors) const {
        const double stored = density_ * block_rows() * static_cast<double>(shape_.in_channels * shape_.taps());
        const double bytes = static_cast<double>(layout.channel_stride * c.k_tile) * sizeof(float);
        const double calls = std::ceil(vectors / widest());
        const double chains = (fours_ ? 4 : 1) * vectors / calls;
        // Loads that straddle two cache lines count twice; only halo panels of several columns have them.
        const double straddle = c.panel == PanelKind::halo && shape_.kernel_w > 1 ? (table_.width == 16 ? 0.7 : 0.35) : 0.0;
        const double load = (fours_ ? 0.25 : 1.0) * (0.15 * beyond_l1(bytes) + straddle);
        return stored * calls * (std::max(4.5, chains * per_vector() * (1.0 + load)) + (fours_ ? 2.0 : 1.0));
    }

    // Starting and ending each row in each K-tile; between K-tiles its sums are stored and loaded again.
    double rows(double vectors, double k_tiles) const {
        const double calls = std::ceil(vectors / widest());
        const double sums = static_cast<double>(shape_.out_channels) * vectors * table_.width * sizeof(float);
        const double reload = (k_tiles - static_cast<double>(shape_.groups)) * (fours_ ? 4 : 1) * vectors * per_vector() *
                              (sums > kL1 / 2 ? 3.0 : 1.5);
        return block_rows() * (k_tiles * calls * kRowCycles + reload) / static_cast<double>(shape_.groups);
    }

    double pack(const PanelLayout& layout) const {
        double runs = 0;
        for (const SubPanel& sub : layout.sub_panels) runs += sub.rows;
        const double vectors = static_cast<double>(layout.channel_stride) / table_.width;
        return static_cast<double>(shape_.in_channels * shape_.groups) * (1.5 * vectors * per_vector() + 6.0 * runs);
    }

    const ConvShape& shape_;
    const Grid& grid_;
    double density_;
    bool fours_;
    const KernelTable& table_;
    int threads_;
};

// Tile widths that cut a row evenly, whole vectors where the map is wider than a tile.
std::vector<std::int32_t> column_choices(const Grid& grid, int max_lanes, int width) {
    std::vector<std::int32_t> choices;
    const std::int64_t map_w = grid.flat ? grid.images * grid.out_w : grid.out_w;
    if (grid.flat && map_w > max_lanes) {
        for (int cols = width; cols <= max_lanes; cols += width) choices.push_back(cols);
        return choices;
    }
    for (std::int64_t split = 1; split <= map_w; ++split) {
        std::int64_t cols = ceil_div(map_w, split);
        if (cols > max_lanes) continue;
        if (map_w > max_lanes) cols = std::min(map_w, ceil_div(cols, width) * width);
        if (choices.empty() || choices.back() != cols) choices.push_back(static_cast<std::int32_t>(cols));
        if (cols <= 2 * width) break;
    }
    return choices;
}

// Channels of a K-tile that cut all of them evenly.
std::vector<std::int64_t> k_tile_choices(std::int64_t channels) {
    std::vector<std::int64_t> choices;
    for (std::int64_t parts = 1; parts <= channels; parts = parts < 4 ? parts + 1 : parts * 3 / 2)
        choices.push_back(ceil_div(channels, parts));
    return choices;
}

Candidate choose(const ConvShape& shape, const Grid& grid, double density, std::int64_t block_rows, const Tuning& wanted,
                 const KernelTable& table, int threads) {
    // A quarter of a megabyte leaves room in any L2 for the weights that stream past.
    constexpr std::int64_t kMaxPanelFloats = 64 * 1024;
    const int max_lanes = table.width == 4 ? 64 : 192;
    std::vector<PanelKind> panels{PanelKind::halo};
    if (shape.taps() > 1) panels = {PanelKind::shifted, PanelKind::halo, PanelKind::taps};
    if (wanted.panel > 0) panels = {static_cast<PanelKind>(wanted.panel - 1)};
    std::vector<std::int32_t> columns = column_choices(grid, max_lanes, table.width);
    const std::int64_t map_w = grid.flat ? grid.images * grid.out_w : grid.out_w;
    if (wanted.tile_cols > 0) columns = {static_cast<std::int32_t>(std::min(wanted.tile_cols, map_w))};
    std::vector<std::int64_t> k_tiles = k_tile_choices(shape.in_channels);
    if (wanted.k_tile > 0) k_tiles = {std::min(wanted.k_tile, shape.in_channels)};
    const std::int64_t map_h = grid.flat ? 1 : grid.out_h;

    const CostModel model(shape, grid, density, block_rows, table, threads);
    Candidate best{};
    double best_cycles = -1.0;
    for (const PanelKind panel : panels)
        for (const std::int32_t cols : columns) {
            const std::int64_t most_rows = std::max<std::int64_t>(1, std::min<std::int64_t>(map_h, max_lanes / cols));
            for (std::int64_t step = 1; step <= most_rows; ++step) {
                const std::int64_t rows = wanted.tile_rows > 0 ? std::min(wanted.tile_rows, map_h) : step;
                for (const std::int64_t k_tile : k_tiles) {
                    const Candidate c{panel, static_cast<std::int32_t>(rows), cols, k_tile};
                    const PanelLayout layout(shape, panel, c.rows, c.cols, table.width);
                    if (layout.channel_stride * k_tile > kMaxPanelFloats && k_tile > 1 && wanted.k_tile == 0) continue;
                    const double cycles = model.cycles(c);
                    if (best_cycles < 0 || cycles < best_cycles) {
                        best_cycles = cycles;
                        best = c;
                    }
                }
                if (wanted.tile_rows > 0) break;
            }
        }
    return best;
}

}  // namespace

Tiling choose_tiling(const ConvShape& shape, const TensorDesc& input, double density, std::int64_t block_rows,
                     const Tuning& wanted, const KernelTable& table, int threads) {
    require(wanted.panel >= 0 && wanted.panel <= 3, "expected a panel kind from 0 to 3");
    require(wanted.tile_rows >= 0 && wanted.tile_cols >= 0 && wanted.k_tile >= 0 && wanted.row_parts >= 0,
            "expected tuning fields of at least 0");
    Tiling tiling{};
    tiling.grid = make_grid(shape, input);
    Grid& grid = tiling.grid;
    const Candidate best = choose(shape, grid, density, block_rows, wanted, table, threads);
    tiling.panel = best.panel;
    tiling.tile_rows = best.rows;
    tiling.tile_cols = best.cols;
    tiling.k_tile = best.k_tile;
    grid.tiles_y = grid.flat ? 1 : ceil_div(grid.out_h, best.rows);
    grid.tiles_x = ceil_div(grid.flat ? grid.images * grid.out_w : grid.out_w, best.cols);

    const std::int64_t block_rows_in_all = ceil_div(shape.out_channels, block_rows);
    std::int64_t parts = 1;
    if (grid.tiles() < 4 * threads && threads > 1) parts = ceil_div(4 * threads, grid.tiles());
    if (grid.tiles() >= 2 * threads && grid.tiles() % threads == 0) parts = 1;
    if (wanted.row_parts > 0) parts = wanted.row_parts;
    tiling.row_parts = static_cast<int>(std::clamp<std::int64_t>(parts, 1, std::max<std::int64_t>(1, block_rows_in_all)));
    return tiling;
}

}  // namespace sovs
