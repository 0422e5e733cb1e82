#include "conv/tiling.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "conv/cost.h"

namespace sovs {
namespace {

// Pixels of the largest map tile that is multiplied in place: past it, too few input channels fit in the L1.
constexpr std::int64_t kMaxTile = 256;

// Tile widths that cut a row evenly, whole vectors where the map is wider than a tile.
std::vector<std::int32_t> column_choices(const Area& area, std::int64_t max_lanes, int width) {
    std::vector<std::int32_t> choices;
    const std::int64_t map_w = area.cols;
    if (area.flat && map_w > max_lanes) {
        for (std::int32_t cols = width; cols <= max_lanes; cols += width) choices.push_back(cols);
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

// Channels that are multiplied in place at a time. Fewer would store and load the sums of all rows more often, and those
// do not fit in the L1; what is a little too large for the L1 streams from the L2 without harm.
std::int64_t in_place_k_tile(std::int64_t channels, std::int64_t map_tile) {
    constexpr std::int64_t kMostFloats = 10 * 1024;
    const std::int64_t most = std::max<std::int64_t>(1, kMostFloats / map_tile);
    return ceil_div(channels, ceil_div(channels, most));
}

// Output channels are split where there are too few tiles for the threads.
std::int64_t parts_for(std::int64_t tiles, std::int64_t block_rows, std::int64_t threads) {
    std::int64_t parts = 1;
    if (tiles < 4 * threads && threads > 1) parts = ceil_div(4 * threads, tiles);
    if (tiles >= 2 * threads && tiles % threads == 0) parts = 1;
    return std::clamp<std::int64_t>(parts, 1, std::max<std::int64_t>(1, block_rows));
}

// Tiles of whole vectors can be multiplied where they lie.
bool fits_in_place(const Area& area, const TensorDesc& input, const KernelTable& table) {
    return area.flat && !input.pixel_major() && input.tile % table.width == 0 && input.tile <= kMaxTile;
}

bool cheaper(const Candidate& a, const Candidate& b) { return a.cycles < b.cycles; }

Tuning tuning_of(const Candidate& c) { return {c.rows, c.cols, c.k_tile, 0, static_cast<std::int64_t>(c.panel) + 1}; }

// Walks through the tiles and panels that a convolution may run with.
class Chooser {
public:
    Chooser(const ConvShape& shape, const Area& area, const WeightDemands& weights, const Tuning& wanted,
            const KernelTable& table, int threads, std::int64_t map_tile)
        : shape_(shape),
          area_(area),
          wanted_(wanted),
          table_(table),
          map_tile_(map_tile),
          max_lanes_(table.width == 4 ? 64 : 192),
          model_(shape, area, weights.density, weights.block_rows, table, threads, map_tile > 0) {}

    const CostModel& model() const { return model_; }

    // All that fit what is wanted.
    std::vector<Candidate> all() const {
        std::vector<PanelKind> panels{PanelKind::halo};
        if (shape_.taps() > 1) panels = {PanelKind::shifted, PanelKind::halo, PanelKind::taps};
        if (wanted_.panel > 0) panels = {static_cast<PanelKind>(wanted_.panel - 1)};
        return all_of(panels, {}, nullptr);
    }

    Candidate best() const { return best_of(all()); }

    // One whose stream suits tiles of any shape with as many pixels.
    Candidate best_for_all_sizes() const {
        // Pixels that most maps can be cut into well.
        constexpr std::int64_t kRoom = 96;
        PanelRoom room;
        if (map_tile_ == 0) room.sub_size = kRoom;
        return best_of(all_of({shape_.taps() > 1 ? PanelKind::taps : PanelKind::halo}, room, nullptr));
    }

    // One that reads this stream; no rows where there is none.
    Candidate best_like(const StreamLayout& live) const {
        // A map that is multiplied in place leaves no room.
        return best_of(all_of({live.panel.kind}, map_tile_ > 0 ? PanelRoom{} : live.panel.room(), &live));
    }

private:
    static Candidate best_of(const std::vector<Candidate>& found) {
        return found.empty() ? Candidate{} : *std::min_element(found.begin(), found.end(), cheaper);
    }

    std::vector<Candidate> all_of(const std::vector<PanelKind>& panels, PanelRoom room,
                                  const StreamLayout* live) const {
        // A quarter of a megabyte leaves room in any L2 for the weights that stream past.
        constexpr std::int64_t kMaxPanelFloats = 64 * 1024;
        constexpr std::int64_t kUnitPixels = 160;
        std::vector<std::int32_t> columns = column_choices(area_, max_lanes_, table_.width);
        if (wanted_.tile_cols > 0) columns = {static_cast<std::int32_t>(std::min(wanted_.tile_cols, area_.cols))};
        if (map_tile_ > 0) columns = {static_cast<std::int32_t>(map_tile_)};
        std::vector<std::int64_t> k_tiles = k_tile_choices(shape_.in_channels);
        if (map_tile_ > 0) k_tiles = {in_place_k_tile(shape_.in_channels, map_tile_)};
        if (wanted_.k_tile > 0) k_tiles = {std::min(wanted_.k_tile, shape_.in_channels)};
        if (live != nullptr) k_tiles = {live->k_tile};

        std::vector<Candidate> found;
        for (const PanelKind panel : panels)
            for (const std::int32_t cols : columns) {
                // Whole rows are the units of strips: tall tiles would keep more rows of each map in the cache.
                const std::int64_t most_rows =
                    std::clamp<std::int64_t>(std::min(max_lanes_ / cols, kUnitPixels / area_.cols), 1, area_.rows);
                for (std::int64_t step = 1; step <= most_rows; ++step) {
                    const std::int64_t rows = wanted_.tile_rows > 0 ? std::min(wanted_.tile_rows, area_.rows) : step;
                    const PanelLayout layout(shape_, panel, static_cast<std::int32_t>(rows), cols, table_.width, room);
                    if (live != nullptr && !layout.same_offsets(live->panel)) break;
                    for (const std::int64_t k_tile : k_tiles) {
                        Candidate c{panel, static_cast<std::int32_t>(rows), cols, k_tile, room};
                        const bool fixed = k_tile == 1 || wanted_.k_tile > 0 || live != nullptr;
                        if (layout.channel_stride * k_tile > kMaxPanelFloats && !fixed) continue;
                        c.cycles = model_.cycles(c);
                        found.push_back(c);
                    }
                    if (wanted_.tile_rows > 0) break;
                }
            }
        return found;
    }

    const ConvShape& shape_;
    const Area& area_;
    const Tuning& wanted_;
    const KernelTable& table_;
    std::int64_t map_tile_, max_lanes_;
    CostModel model_;
};

}  // namespace

Tiling choose_tiling(const ConvShape& shape, const TensorDesc& input, const WeightDemands& weights,
                     const Tuning& wanted, const KernelTable& table, int threads) {
    // Times the best tiling's estimate that one may cost that saves a stream.
    constexpr double kMostForLive = 1.25, kMostHeldOnce = 1.6;
    require(wanted.panel >= 0 && wanted.panel <= 3, "expected a panel kind from 0 to 3");
    require(wanted.tile_rows >= 0 && wanted.tile_cols >= 0 && wanted.k_tile >= 0 && wanted.row_parts >= 0,
            "expected tuning fields of at least 0");
    const Area area(shape, input);
    const bool in_place = fits_in_place(area, input, table);
    const Chooser chooser(shape, area, weights, wanted, table, threads, in_place ? input.tile : 0);
    const std::int64_t block_rows = ceil_div(shape.out_channels, weights.block_rows);
    const auto parts_of = [&](const Candidate& c, std::int64_t most) {
        return std::min(most, parts_for(area.tiles(c.rows, c.cols), block_rows, threads));
    };
    const auto cycles_of = [&](const Candidate& c, std::int64_t most) {
        return chooser.model().cycles(c, parts_of(c, most));
    };

    Candidate chosen = chooser.best();
    std::int64_t parts = parts_of(chosen, block_rows);
    std::int64_t stream_parts = parts;
    // Those that want only a kind of panel come from another size.
    const bool free = wanted.tile_rows + wanted.tile_cols + wanted.row_parts == 0;
    if (free && (weights.held_once || !weights.live.empty())) {
        double most = cycles_of(chosen, block_rows) * (weights.held_once ? kMostHeldOnce : kMostForLive);
        if (weights.held_once) {
            chosen = chooser.best_for_all_sizes();
            parts = parts_of(chosen, block_rows);
            // Fewer tiles of a smaller map may need more parts.
            stream_parts = std::max(parts, threads > 1 ? std::min<std::int64_t>(block_rows, 2 * threads) : 1);
        }
        for (const StreamLayout& live : weights.live) {
            const Candidate like = chooser.best_like(live);
            if (like.rows == 0 || cycles_of(like, live.parts) > most) continue;
            most = cycles_of(like, live.parts);
            chosen = like;
            parts = parts_of(like, live.parts);
            stream_parts = live.parts;
        }
    }
    if (wanted.row_parts > 0)
        stream_parts = parts = std::clamp<std::int64_t>(wanted.row_parts, 1, std::max<std::int64_t>(1, block_rows));
    Tiling tiling{};
    tiling.panel = chosen.panel;
    tiling.tile_rows = chosen.rows;
    tiling.tile_cols = chosen.cols;
    tiling.k_tile = chosen.k_tile;
    tiling.row_parts = static_cast<int>(parts);
    tiling.stream_parts = static_cast<int>(stream_parts);
    tiling.room = chosen.room;
    tiling.in_place = in_place;
    Grid& grid = tiling.grid;
    grid.flat = area.flat;
    grid.tiles_y = ceil_div(area.rows, chosen.rows);
    grid.units = area.flat ? ceil_div(area.cols, chosen.cols) : area.images * grid.tiles_y;
    grid.tiles_x = area.flat ? 1 : ceil_div(area.cols, chosen.cols);
    return tiling;
}

std::vector<Tuning> candidate_tunings(const ConvShape& shape, const TensorDesc& input, const WeightDemands& weights,
                                      const KernelTable& table, std::size_t most) {
    const Area area(shape, input);
    std::vector<Tuning> chosen;
    if (fits_in_place(area, input, table)) {
        // Only the channels of a panel are free. The estimate says little about them: the map is in the caches anyway.
        constexpr std::int64_t kFewestFloats = 2 * 1024, kMostFloats = 64 * 1024;
        const std::int64_t usual = in_place_k_tile(shape.in_channels, input.tile);
        chosen.push_back({1, input.tile, usual, 0, 0});
        for (const std::int64_t k_tile : k_tile_choices(shape.in_channels)) {
            const std::int64_t floats = k_tile * input.tile;
            if (k_tile != usual && floats >= kFewestFloats && floats <= kMostFloats && chosen.size() < most)
                chosen.push_back({1, input.tile, k_tile, 0, 0});
        }
        return chosen;
    }
    const Tuning any;
    std::vector<Candidate> found = Chooser(shape, area, weights, any, table, 1, 0).all();
    std::stable_sort(found.begin(), found.end(), cheaper);
    // Neighbours of the best are alike: some of every kind of panel and tile show where the estimate errs.
    const std::size_t most_of_panel = (most + 1) / 2, most_of_tile = 2;
    std::map<PanelKind, std::size_t> of_panel;
    std::map<std::tuple<PanelKind, std::int32_t, std::int32_t>, std::size_t> of_tile;
    for (const Candidate& c : found) {
        if (chosen.size() == most) break;
        std::size_t &panels = of_panel[c.panel], &tiles = of_tile[{c.panel, c.rows, c.cols}];
        if (panels == most_of_panel || tiles == most_of_tile) continue;
        ++panels;
        ++tiles;
        chosen.push_back(tuning_of(c));
    }
    return chosen;
}

}  // namespace sovs
