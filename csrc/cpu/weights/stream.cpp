#include "weights/stream.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace sovs {
namespace {

// Splits the block rows in contiguous parts of about equal work; the constant stands for a row's start and finish.
std::vector<std::int32_t> split_rows(const PackedWeights& packed, int parts) {
    constexpr std::int64_t kRowCost = 4;
    const std::int64_t rows = packed.block_row_count();
    const std::int64_t total = packed.row_ptr.back() + kRowCost * rows;
    std::vector<std::int32_t> part_of(rows);
    for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t middle = (packed.row_ptr[row] + packed.row_ptr[row + 1]) / 2 + kRowCost * row;
        part_of[row] = static_cast<std::int32_t>(std::min<std::int64_t>(parts - 1, middle * parts / std::max<std::int64_t>(1, total)));
    }
    return part_of;
}

}  // namespace

std::size_t PackedWeights::bytes() const {
    return row_ptr.size() * sizeof(std::int64_t) + keys.size() * sizeof(std::uint32_t) + values.size() * sizeof(float);
}

std::size_t Stream::bytes() const {
    return entries.bytes() + offsets.bytes() + weights.bytes() + groups.size() * sizeof(RowGroup) +
           row_ids.size() * sizeof(std::int32_t);
}

Stream expand_stream(const PackedWeights& packed, const StreamLayout& wanted) {
    const PanelLayout& layout = wanted.panel;
    const std::int64_t k_tile = wanted.k_tile, taps = packed.taps();
    const int parts = wanted.parts;
    require((k_tile - 1) * layout.channel_stride + *std::max_element(layout.tap_offsets.begin(), layout.tap_offsets.end()) <
                std::numeric_limits<std::int32_t>::max() / 4,
            "expected a K-tile whose panel offsets fit in 32 bits");
    const std::int64_t rows = packed.block_row_count();
    const std::int64_t group_rows = rows / packed.groups;
    const std::vector<std::int32_t> part_of = split_rows(packed, parts);

    Stream stream{wanted, {}, {}, {}, {}, {}, {}, {}};
    for (int part = 0; part <= parts; ++part)
        stream.part_begin.push_back(static_cast<std::int32_t>(
            std::lower_bound(part_of.begin(), part_of.end(), part) - part_of.begin()));
    const std::size_t blocks = packed.keys.size();
    const bool fours = packed.block_rows == 4;
    if (fours)
        stream.weights.reserve(blocks * 4 + 1);
    else
        stream.entries.reserve(blocks + 1);
    std::vector<std::int32_t> offsets;
    std::int64_t written = 0;  // blocks

    std::vector<std::int64_t> next(packed.row_ptr.begin(), packed.row_ptr.end() - 1);  // first unread block by row
    std::vector<std::int32_t> count(rows);
    std::vector<std::int32_t> order;
    for (std::int64_t g = 0; g < packed.groups; ++g) {
        for (std::int64_t begin = 0; begin < packed.in_channels; begin += k_tile) {
            const std::int64_t end = std::min(packed.in_channels, begin + k_tile);
            KTile tile{g * packed.in_channels + begin, g * packed.in_channels + end, begin == 0,
                       end == packed.in_channels, {}};
            const std::uint32_t key_begin = static_cast<std::uint32_t>(begin * taps);
            const auto key_end = static_cast<std::uint32_t>(end * taps);
            std::int32_t full = static_cast<std::int32_t>((end - begin) * taps);
            bool all_full = fours;
            order.resize(group_rows);
            std::iota(order.begin(), order.end(), static_cast<std::int32_t>(g * group_rows));
            for (const std::int32_t row : order) {
                std::int64_t stop = next[row];
                while (stop < packed.row_ptr[row + 1] && packed.keys[stop] < key_end) ++stop;
                count[row] = static_cast<std::int32_t>(stop - next[row]);
                all_full = all_full && count[row] == full;
            }
            std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
                return std::pair(part_of[a], count[a]) < std::pair(part_of[b], count[b]);
            });
            const auto offset_of = [&](std::uint32_t key) {
                const std::uint32_t local = key - key_begin;
                return static_cast<std::int32_t>((local / taps * layout.channel_stride + layout.tap_offsets[local % taps]) *
                                                 static_cast<std::ptrdiff_t>(sizeof(float)));
            };
            // Rows of a full tile read the same panel floats in the same order: they share one list of offsets.
            const std::int64_t shared_offsets = static_cast<std::int64_t>(offsets.size());
            if (all_full && group_rows > 0)
                for (std::int32_t k = 0; k < full; ++k) offsets.push_back(offset_of(key_begin + k));

            std::size_t i = 0;
            for (int part = 0; part < parts; ++part) {
                tile.group_begin.push_back(static_cast<std::int32_t>(stream.groups.size()));
                while (i < order.size() && part_of[order[i]] == part) {
                    const std::int32_t entries = count[order[i]];
                    RowGroup group{entries, 0, static_cast<std::int32_t>(stream.row_ids.size()), written,
                                   all_full ? shared_offsets : static_cast<std::int64_t>(offsets.size()),
                                   all_full ? 0 : entries};
                    for (; i < order.size() && part_of[order[i]] == part && count[order[i]] == entries; ++i) {
                        const std::int32_t row = order[i];
                        if (entries == 0 && !tile.first && !tile.last) continue;
                        ++group.block_rows;
                        stream.row_ids.push_back(row);
                        for (std::int64_t b = next[row]; b < next[row] + entries; ++b, ++written) {
                            const std::int32_t offset = offset_of(packed.keys[b]);
                            if (fours) {
                                std::copy_n(&packed.values[b * 4], 4, stream.weights.data() + written * 4);
                                if (!all_full) offsets.push_back(offset);
                            } else {
                                stream.entries.data()[written] = {packed.values[b], offset};
                            }
                        }
                        next[row] += entries;
                    }
                    if (group.block_rows > 0) stream.groups.push_back(group);
                }
            }
            tile.group_begin.push_back(static_cast<std::int32_t>(stream.groups.size()));
            stream.tiles.push_back(std::move(tile));
        }
    }
    stream.offsets.reserve(offsets.size() + 1);
    std::copy(offsets.begin(), offsets.end(), stream.offsets.data());
    return stream;
}

std::vector<std::int32_t> stream_positions(const PackedWeights& packed, const StreamLayout& layout) {
    // A stream of numbers in the weights' place tells where each went.
    PackedWeights numbered = packed;
    const std::size_t blocks = packed.keys.size(), rows = static_cast<std::size_t>(packed.block_rows);
    require(blocks < static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()), "expected fewer than 2**31 blocks");
    for (std::size_t b = 0; b < blocks; ++b) numbered.values[b * rows] = std::bit_cast<float>(static_cast<std::int32_t>(b));
    const Stream stream = expand_stream(numbered, layout);
    std::vector<std::int32_t> positions(blocks);
    for (std::size_t i = 0; i < blocks; ++i) {
        const float number = rows == 4 ? stream.weights.data()[i * 4] : stream.entries.data()[i].weight;
        positions[std::bit_cast<std::int32_t>(number)] = static_cast<std::int32_t>(i);
    }
    return positions;
}

PackedWeights pack_stream(const Stream& stream, const WeightSizes& sizes) {
    const PanelLayout& layout = stream.layout.panel;
    PackedWeights packed{sizes, {}, {}, {}};
    const std::int64_t rows = sizes.block_rows;
    packed.row_ptr.assign(sizes.block_row_count() + 1, 0);
    for (const RowGroup& group : stream.groups)
        for (std::int32_t r = 0; r < group.block_rows; ++r)
            packed.row_ptr[stream.row_ids[group.first_row + r] + 1] += group.entries;
    std::partial_sum(packed.row_ptr.begin(), packed.row_ptr.end(), packed.row_ptr.begin());
    packed.keys.resize(packed.row_ptr.back());
    packed.values.resize(packed.row_ptr.back() * rows);

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
                    std::copy_n(fours ? stream.weights.data() + from * rows : &entry->weight, rows, &packed.values[to * rows]);
                }
            }
        }
    }
    return packed;
}

}  // namespace sovs
