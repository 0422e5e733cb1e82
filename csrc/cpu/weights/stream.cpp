#include "weights/stream.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace sovs {
namespace {

// In bytes from the panel's first float, by a key's distance from the tile's first: one division less for each weight.
std::vector<std::int32_t> offsets_of_keys(const StreamLayout& layout, std::int64_t channels) {
    const PanelLayout& panel = layout.panel;
    const std::ptrdiff_t last_tap = *std::max_element(panel.tap_offsets.begin(), panel.tap_offsets.end());
    require((layout.k_tile - 1) * panel.channel_stride + last_tap < std::numeric_limits<std::int32_t>::max() / 4,
            "expected a K-tile whose panel offsets fit in 32 bits");
    std::vector<std::int32_t> offsets;
    offsets.reserve(static_cast<std::size_t>(channels) * panel.tap_offsets.size());
    for (std::int64_t channel = 0; channel < channels; ++channel)
        for (const std::ptrdiff_t tap : panel.tap_offsets)
            offsets.push_back(static_cast<std::int32_t>((channel * panel.channel_stride + tap) *
                                                        static_cast<std::ptrdiff_t>(sizeof(float))));
    return offsets;
}

}  // namespace

std::size_t Stream::bytes() const {
    return entries.bytes() + offsets.bytes() + weights.bytes() + groups.size() * sizeof(RowGroup) +
           row_ids.size() * sizeof(std::int32_t);
}

Stream expand_stream(const PackedWeights& packed, const StreamLayout& layout) {
    const Structure& s = packed.structure;
    const float* numbers = packed.values.f32().data();
    const std::vector<std::int32_t> offset_of = offsets_of_keys(layout, std::min(layout.k_tile, s.sizes.in_channels));
    BlockOrder order = order_blocks(s, layout.k_tile, layout.parts);
    Stream stream{layout,
                  std::move(order.tiles),
                  std::move(order.part_begin),
                  std::move(order.groups),
                  std::move(order.row_ids),
                  {},
                  {},
                  {}};
    const bool fours = s.sizes.block.rows == 4;
    if (fours)
        stream.weights.reserve(s.keys.size() * 4 + 1);
    else
        stream.entries.reserve(s.keys.size() + 1);
    stream.offsets.reserve(static_cast<std::size_t>(order.offset_count) + 1);

    std::int64_t to = 0;  // blocks
    for (const KTile& tile : stream.tiles) {
        const auto key_begin = static_cast<std::uint32_t>(tile.channel_begin % s.sizes.in_channels * s.sizes.taps());
        for (std::int32_t g = tile.group_begin.front(); g < tile.group_begin.back(); ++g) {
            const RowGroup& group = stream.groups[g];
            for (std::int32_t r = 0; r < group.block_rows; ++r, to += group.entries) {
                const std::int64_t from = order.first_blocks[group.first_row + r];
                const std::uint32_t* keys = s.keys.data() + from;
                if (!fours) {
                    Entry* entries = stream.entries.data() + to;
                    for (std::int32_t e = 0; e < group.entries; ++e)
                        entries[e] = {numbers[from + e], offset_of[keys[e] - key_begin]};
                    continue;
                }
                std::copy_n(numbers + from * 4, std::int64_t{group.entries} * 4, stream.weights.data() + to * 4);
                if (r > 0 && group.offset_step == 0) continue;  // they share the first row's
                const std::int64_t first = group.first_offset + std::int64_t{r} * group.offset_step;
                std::int32_t* offsets = stream.offsets.data() + first;
                for (std::int32_t e = 0; e < group.entries; ++e) offsets[e] = offset_of[keys[e] - key_begin];
            }
        }
    }
    return stream;
}

std::vector<std::int32_t> stream_positions(const Structure& structure, const StreamLayout& layout) {
    require(structure.keys.size() < static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()),
            "expected fewer than 2**31 blocks");
    const BlockOrder order = order_blocks(structure, layout.k_tile, layout.parts);
    std::vector<std::int32_t> positions(structure.keys.size());
    std::int32_t to = 0;
    for (const RowGroup& group : order.groups)
        for (std::int32_t r = 0; r < group.block_rows; ++r, to += group.entries)
            std::iota(positions.begin() + order.first_blocks[group.first_row + r],
                      positions.begin() + order.first_blocks[group.first_row + r] + group.entries, to);
    return positions;
}

PackedWeights pack_stream(const Stream& stream, const WeightSizes& sizes) {
    const PanelLayout& layout = stream.layout.panel;
    const std::int64_t rows = sizes.block.rows;
    Structure packed{sizes, {}, {}};
    packed.row_ptr.assign(sizes.block_row_count() + 1, 0);
    for (const RowGroup& group : stream.groups)
        for (std::int32_t r = 0; r < group.block_rows; ++r)
            packed.row_ptr[stream.row_ids[group.first_row + r] + 1] += group.entries;
    std::partial_sum(packed.row_ptr.begin(), packed.row_ptr.end(), packed.row_ptr.begin());
    packed.keys.resize(packed.row_ptr.back());
    Values values(static_cast<std::size_t>(packed.row_ptr.back() * rows));
    float* numbers = values.f32().data();

    std::vector<std::int64_t> tap_at(layout.channel_stride);
    for (std::size_t tap = 0; tap < layout.tap_offsets.size(); ++tap)
        tap_at[layout.tap_offsets[tap]] = static_cast<std::int64_t>(tap);
    const auto key_of = [&](std::int32_t offset, std::int64_t channel_begin) {
        const std::ptrdiff_t place = offset / static_cast<std::ptrdiff_t>(sizeof(float));
        const std::int64_t channel = channel_begin + place / layout.channel_stride;
        return static_cast<std::uint32_t>(channel * sizes.taps() + tap_at[place % layout.channel_stride]);
    };
    // K-tiles ascend in each conv group, so every row's keys do.
    std::vector<std::int64_t> next(packed.row_ptr.begin(), packed.row_ptr.end() - 1);
    for (const KTile& tile : stream.tiles) {
        const std::int64_t channel_begin = tile.channel_begin % sizes.in_channels;
        for (std::int32_t g = tile.group_begin.front(); g < tile.group_begin.back(); ++g) {
            const RowGroup& group = stream.groups[g];
            std::int64_t from = group.first_entry;
            for (std::int32_t r = 0; r < group.block_rows; ++r) {
                std::int64_t& to = next[stream.row_ids[group.first_row + r]];
                const std::int64_t offsets = group.first_offset + std::int64_t{r} * group.offset_step;
                for (std::int32_t e = 0; e < group.entries; ++e, ++from, ++to) {
                    const bool fours = rows == 4;
                    const Entry* entry = fours ? nullptr : stream.entries.data() + from;
                    packed.keys[to] = key_of(fours ? stream.offsets.data()[offsets + e] : entry->offset, channel_begin);
                    std::copy_n(fours ? stream.weights.data() + from * rows : &entry->weight, rows,
                                numbers + to * rows);
                }
            }
        }
    }
    return {std::move(packed), std::move(values)};
}

}  // namespace sovs
