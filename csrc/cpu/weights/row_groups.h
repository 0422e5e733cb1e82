// The form of weight streams: what the kernels of rows read, entry by entry.
#pragma once
#include <cstdint>

namespace sovs {

// One stored weight and where its activations start, in bytes from the panel's first float. Interleaved, so that
// the inner loop follows one stream.
struct Entry {
    float weight;
    std::int32_t offset;
};

// A run of block rows with equal entry counts: the inner loop's exit is predictable inside it.
struct RowGroup {
    std::int32_t entries;       // of each block row
    std::int32_t block_rows;    // in the run
    std::int32_t first_row;     // into the list of row ids
    std::int64_t first_entry;   // into the entries (blocks of 1) or the weights (blocks of 4)
    std::int64_t first_offset;  // into the offsets (blocks of 4)
    std::int32_t offset_step;   // from one block row's offsets to the next one's: 0 where all rows share theirs
};

}  // namespace sovs
