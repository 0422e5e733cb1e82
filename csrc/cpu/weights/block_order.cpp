#include "weights/block_order.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace sovs {

std::vector<std::int32_t> split_rows(const Structure& s, int parts) {
    constexpr std::int64_t kRowCost = 4;  // of its start and its end, in blocks
    const std::int64_t rows = s.sizes.block_row_count();
    const std::int64_t total = s.row_ptr.back() + kRowCost * rows;
    std::vector<std::int32_t> part_of(rows);
    for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t middle = (s.row_ptr[row] + s.row_ptr[row + 1]) / 2 + kRowCost * row;
        const std::int64_t part = middle * parts / std::max<std::int64_t>(1, total);
        part_of[row] = static_cast<std::int32_t>(std::min<std::int64_t>(parts - 1, part));
    }
    return part_of;
}

BlockOrder order_blocks(const Structure& s, std::int64_t k_tile, int parts) {
    const std::int64_t rows = s.sizes.block_row_count(), group_rows = rows / s.sizes.groups;
    const std::int64_t in_channels = s.sizes.in_channels, taps = s.sizes.taps();
    const bool fours = s.sizes.block.rows == 4;
    const std::vector<std::int32_t> part_of = split_rows(s, parts);

    BlockOrder made;
    for (int part = 0; part <= parts; ++part)
        made.part_begin.push_back(
            static_cast<std::int32_t>(std::lower_bound(part_of.begin(), part_of.end(), part) - part_of.begin()));
    std::int64_t placed = 0;                                                 // blocks
    std::vector<std::int64_t> next(s.row_ptr.begin(), s.row_ptr.end() - 1);  // first unread block by row
    std::vector<std::int32_t> count(rows);
    std::vector<std::int32_t> order(group_rows);
    for (std::int64_t g = 0; g < s.sizes.groups; ++g) {
        for (std::int64_t begin = 0; begin < in_channels; begin += k_tile) {
            const std::int64_t end = std::min(in_channels, begin + k_tile);
            KTile tile{g * in_channels + begin, g * in_channels + end, begin == 0, end == in_channels, {}};
            const auto key_end = static_cast<std::uint32_t>(end * taps);
            const auto full = static_cast<std::int32_t>((end - begin) * taps);
            // Rows of a full tile read the same panel floats in the same order: they share one list of offsets.
            bool all_full = fours;
            std::iota(order.begin(), order.end(), static_cast<std::int32_t>(g * group_rows));
            for (const std::int32_t row : order) {
                std::int64_t stop = next[row];
                while (stop < s.row_ptr[row + 1] && s.keys[stop] < key_end) ++stop;
                count[row] = static_cast<std::int32_t>(stop - next[row]);
                all_full = all_full && count[row] == full;
            }
            std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
                return std::pair(part_of[a], count[a]) < std::pair(part_of[b], count[b]);
            });

            const std::int64_t tile_offsets = made.offset_count;
            if (all_full) made.offset_count += full;
            std::size_t i = 0;
            for (int part = 0; part < parts; ++part) {
                tile.group_begin.push_back(static_cast<std::int32_t>(made.groups.size()));
                while (i < order.size() && part_of[order[i]] == part) {
                    const std::int32_t entries = count[order[i]];
                    RowGroup group{entries,
                                   0,
                                   static_cast<std::int32_t>(made.row_ids.size()),
                                   placed,
                                   all_full ? tile_offsets : made.offset_count,
                                   all_full ? 0 : entries};
                    for (; i < order.size() && part_of[order[i]] == part && count[order[i]] == entries; ++i) {
                        const std::int32_t row = order[i];
                        if (entries == 0 && !tile.first && !tile.last) continue;
                        ++group.block_rows;
                        made.row_ids.push_back(row);
                        made.first_blocks.push_back(next[row]);
                        next[row] += entries;
                        placed += entries;
                        if (fours && !all_full) made.offset_count += entries;
                    }
                    if (group.block_rows > 0) made.groups.push_back(group);
                }
            }
            tile.group_begin.push_back(static_cast<std::int32_t>(made.groups.size()));
            made.tiles.push_back(std::move(tile));
        }
    }
    return made;
}

}  // namespace sovs
