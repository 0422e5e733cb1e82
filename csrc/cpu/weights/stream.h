// Sparse weights as the kernels of rows read them: in their order, with offsets into one panel layout.
#pragma once
#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "weights/block_order.h"
#include "weights/packed.h"
#include "weights/panel_layout.h"
#include "weights/row_groups.h"

namespace sovs {

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

// The stream for K-tiles of layout.k_tile channels, with the rows in layout.parts parts of about equal work. Of float32
// weights.
Stream expand_stream(const PackedWeights& packed, const StreamLayout& layout);

// Where each block of the structure lies in that stream, counted in blocks.
std::vector<std::int32_t> stream_positions(const Structure& structure, const StreamLayout& layout);

// What the stream was expanded from, to the bit.
PackedWeights pack_stream(const Stream& stream, const WeightSizes& sizes);

}  // namespace sovs
