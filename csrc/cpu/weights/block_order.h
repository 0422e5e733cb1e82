// The order in which a stream holds a layer's blocks: K-tiles, in them parts of the output channels, in these block rows
// of one length after the other. Panels that keep their pixels elsewhere change nothing of it.
#pragma once
#include <cstdint>
#include <vector>

#include "weights/row_groups.h"
#include "weights/structure.h"

namespace sovs {

// The input channels [begin, end) of one conv group, and what each part of the output channels does with them.
struct KTile {
    std::int64_t channel_begin, channel_end;  // of all groups
    bool first, last;                         // of its conv group
    std::vector<std::int32_t> group_begin;    // (parts + 1) into the groups
};

struct BlockOrder {
    std::vector<KTile> tiles;
    std::vector<std::int32_t> part_begin;  // (parts + 1) block rows
    std::vector<RowGroup> groups;
    std::vector<std::int32_t> row_ids;
    std::vector<std::int64_t> first_blocks;  // of each entry of row_ids, in the structure; those behind it follow
    std::int64_t offset_count = 0;           // of blocks of 4
};

// The part of each block row, where they fall into contiguous parts of about equal work.
std::vector<std::int32_t> split_rows(const Structure& structure, int parts);

// With K-tiles of k_tile channels, and the block rows in parts of about equal work.
BlockOrder order_blocks(const Structure& structure, std::int64_t k_tile, int parts);

}  // namespace sovs
