// Sparse weights in the two forms that the library keeps them in: compact, and as a stream for one panel layout.
#pragma once
#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "kernels/kernel_table.h"
#include "weights/panel_layout.h"

namespace sovs {

struct WeightSizes {
    std::int64_t out_channels, in_channels, kernel_h, kernel_w, groups, block_rows;  // in_channels of one group

    std::int64_t taps() const { return kernel_h * kernel_w; }
    std::int64_t block_row_count() const { return (out_channels + block_rows - 1) / block_rows; }
};

// Blocks in channel-major order: keys are input channel * taps + tap, ascending in each block row.
struct PackedWeights : WeightSizes {
    std::vector<std::int64_t> row_ptr;
    std::vector<std::uint32_t> keys;
    std::vector<float> values;  // (keys, block_rows)
    std::size_t bytes() const;
};

// The input channels [begin, end) of one conv group, and what each part of the output channels does with them.
struct KTile {
    std::int64_t channel_begin, channel_end;  // of all groups
    bool first, last;                         // of its conv group
    std::vector<std::int32_t> group_begin;    // (parts + 1) into Stream::groups
};

// Weights in the order and with the offsets that the kernels read.
struct Stream {
    StreamLayout layout;
    std::vector<KTile> tiles;
    std::vector<std::int32_t> part_begin;  // (parts + 1) block rows
    std::vector<RowGroup> groups;
    std::vector<std::int32_t> row_ids;
    AlignedBuffer<Entry> entries;         // blocks of 1
    AlignedBuffer<std::int32_t> offsets;  // blocks of 4
    AlignedBuffer<float> weights;         // blocks of 4
    std::size_t bytes() const;
};

// The stream for K-tiles of layout.k_tile channels, with the rows in layout.parts parts of about equal work.
Stream expand_stream(const PackedWeights& packed, const StreamLayout& layout);

// Where each block of `packed` lies in that stream, counted in blocks.
std::vector<std::int32_t> stream_positions(const PackedWeights& packed, const StreamLayout& layout);

// What the stream was expanded from, to the bit.
PackedWeights pack_stream(const Stream& stream, const WeightSizes& sizes);

}  // namespace sovs
