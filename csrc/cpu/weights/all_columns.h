// Weights that lie in the order of a dense kernel, as rows of stored columns again.
#pragma once
#include <cstdint>

#include "weights/packed.h"

namespace sovs {

// A structure of all columns. Their numbers, number_at(out_channel, key), go to `to`: (block rows, columns, block.rows); those
// of rows past the last channel stay as they are.
template <typename Number, typename NumberAt>
Structure store_all_columns(const WeightSizes& sizes, Number* to, const NumberAt& number_at) {
    const std::int64_t block = sizes.block.rows, columns = sizes.columns();
    Structure made{sizes, {0}, {}};
    for (std::int64_t row = 0; row < sizes.block_row_count(); ++row) {
        for (std::int64_t key = 0; key < columns; ++key) {
            made.keys.push_back(static_cast<std::uint32_t>(key));
            for (std::int64_t r = 0; r < block; ++r, ++to)
                if (row * block + r < sizes.out_channels) *to = number_at(row * block + r, key);
        }
        made.row_ptr.push_back(static_cast<std::int64_t>(made.keys.size()));
    }
    return made;
}

}  // namespace sovs
