// Which weights of a layer are stored: blocks in rows of output channels.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sovs {

// The weights that are stored together: those of `rows` output channels at `cols` places of the flattened weight.
struct BlockShape {
    std::int64_t rows = 1, cols = 1;

    std::int64_t weights() const { return rows * cols; }
    bool operator==(const BlockShape&) const = default;
};

struct WeightSizes {
    std::int64_t out_channels, in_channels, kernel_h, kernel_w, groups;  // in_channels of one group
    BlockShape block = {};

    std::int64_t taps() const { return kernel_h * kernel_w; }
    std::int64_t columns() const { return in_channels * taps(); }
    std::int64_t block_row_count() const { return (out_channels + block.rows - 1) / block.rows; }
};

// Throws InvalidArgument where no weight has such sizes, or no kernel reads such blocks: today 1x1 and 4x1, and 2x1 of s8.
void check_sizes(const WeightSizes& sizes);

// Blocks in channel-major order: keys are input channel * taps + tap, ascending in each block row.
struct Structure {
    WeightSizes sizes;
    std::vector<std::int64_t> row_ptr;  // (block rows + 1)
    std::vector<std::uint32_t> keys;    // (blocks)

    std::size_t bytes() const { return row_ptr.size() * sizeof(std::int64_t) + keys.size() * sizeof(std::uint32_t); }
};

}  // namespace sovs
