#include "tiling.h"

#include <algorithm>
#include <initializer_list>

#include "error.h"

namespace sovs {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// The panel of a K-tile, and the offsets and weights that stream past it, share a 32 KiB L1.
constexpr std::int64_t kPanelBytes = 20 * 1024;
// Below this many entries a row's start and finish cost more than its entries.
constexpr double kEntriesPerRow = 6.0;

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

struct TileSize {
    std::int32_t rows, cols;
};

// The fewest vectors in all, with a constant cost a tile for its pack and row overheads; tiles are spread so that
// threads end together.
TileSize choose_tile(const ConvShape& shape, const Grid& grid, PanelKind panel, int max_lanes, int width, int threads,
                     const Tuning& wanted) {
    constexpr double kTileCost = 1.5;  // in vectors
    TileSize best{1, 1};
    double best_cost = -1.0;
    const std::int64_t map_w = grid.flat ? grid.images * grid.out_w : grid.out_w;
    const std::int64_t map_h = grid.flat ? 1 : grid.out_h;
    for (std::int64_t split = 1; split <= map_w; ++split) {
        std::int64_t cols = ceil_div(map_w, split);
        if (grid.flat || map_w > max_lanes) cols = std::min(map_w, ceil_div(cols, width) * width);
        if (wanted.tile_cols > 0) cols = std::min(wanted.tile_cols, map_w);
        if (cols > max_lanes && wanted.tile_cols == 0) continue;
        for (std::int64_t rows = 1; rows <= map_h; ++rows) {
            if (wanted.tile_rows > 0) rows = std::min(wanted.tile_rows, map_h);
            const PanelLayout layout(shape, panel, static_cast<std::int32_t>(rows), static_cast<std::int32_t>(cols), width);
            if (layout.lanes > max_lanes && rows > 1 && wanted.tile_rows == 0) break;
            const std::int64_t tiles = ceil_div(map_h, rows) * ceil_div(map_w, cols) * (grid.flat ? 1 : grid.images);
            const double idle = static_cast<double>(ceil_div(tiles, threads) * threads) / static_cast<double>(tiles);
            const double cost = static_cast<double>(tiles) * (layout.lanes / width + kTileCost) * idle;
            if (best_cost < 0 || cost < best_cost) {
                best_cost = cost;
                best = {static_cast<std::int32_t>(rows), static_cast<std::int32_t>(cols)};
            }
            if (wanted.tile_rows > 0) break;
        }
        if (wanted.tile_cols > 0 || cols * 4 <= width) break;
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

    tiling.panel = shape.taps() == 1 ? PanelKind::halo : PanelKind::shifted;
    if (wanted.panel > 0) tiling.panel = static_cast<PanelKind>(wanted.panel - 1);

    const int max_lanes = table.width == 4 ? 64 : 96;
    const TileSize tile = choose_tile(shape, grid, tiling.panel, max_lanes, table.width, threads, wanted);
    tiling.tile_rows = tile.rows;
    tiling.tile_cols = tile.cols;
    grid.tiles_y = grid.flat ? 1 : ceil_div(grid.out_h, tile.rows);
    grid.tiles_x = ceil_div(grid.flat ? grid.images * grid.out_w : grid.out_w, tile.cols);

    const PanelLayout layout(shape, tiling.panel, tile.rows, tile.cols, table.width);
    const std::int64_t channel_bytes = layout.channel_stride * static_cast<std::int64_t>(sizeof(float));
    const double entries_per_channel = std::max(1e-6, density * static_cast<double>(shape.taps()));
    const auto enough = static_cast<std::int64_t>(std::min(1e6, kEntriesPerRow / entries_per_channel)) + 1;
    std::int64_t k_tile = std::max(kPanelBytes / channel_bytes, enough);
    k_tile = std::clamp<std::int64_t>(k_tile, 1, shape.in_channels);
    k_tile = ceil_div(shape.in_channels, ceil_div(shape.in_channels, k_tile));  // tiles of equal size
    tiling.k_tile = wanted.k_tile > 0 ? std::min(wanted.k_tile, shape.in_channels) : k_tile;

    const std::int64_t block_rows_in_all = ceil_div(shape.out_channels, block_rows);
    std::int64_t parts = 1;
    if (grid.tiles() < 4 * threads && threads > 1) parts = ceil_div(4 * threads, grid.tiles());
    if (grid.tiles() >= 2 * threads && grid.tiles() % threads == 0) parts = 1;
    if (wanted.row_parts > 0) parts = wanted.row_parts;
    tiling.row_parts = static_cast<int>(std::clamp<std::int64_t>(parts, 1, std::max<std::int64_t>(1, block_rows_in_all)));
    return tiling;
}

}  // namespace sovs
