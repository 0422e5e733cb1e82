// Sparse weights as the int8 and bf16 kernels of rows read them: quads or pairs of columns, in the kernels' order.
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "weights/byte_entry.h"
#include "weights/packed.h"

namespace sovs {

// All that a stream depends on.
struct ByteStreamLayout {
    std::int64_t column_lines;  // lines of the panel from one column to the next one
    int parts;                  // of the output channels
    bool pairs_in_16_bits;      // pairs of s8 columns must not add up to more than 128, see ByteTable

    auto operator<=>(const ByteStreamLayout&) const = default;
};

// One part's rows, the shortest first, and the input channels of which its panel holds the columns.
struct ByteStreamPart {
    std::int64_t channel_begin, channel_end;
    std::vector<ByteRowGroup> groups;
    std::vector<std::int32_t> row_ids;  // block rows, and kRowsAhead more
    std::size_t first_byte;             // of the stream's entries
};

struct ByteStream {
    ByteStreamLayout layout;
    std::vector<ByteStreamPart> parts;
    AlignedBuffer<std::byte>
        entries;  // ByteEntry or PairEntry of the block's rows; one that fills up has the line of that before it
    std::vector<std::int64_t> sums;  // (out_channels): of a channel's s8 weights, else empty

    std::size_t bytes() const;
};

// Of s8 weights in quads, or of float32 ones, rounded to bf16, in pairs. Throws InvalidArgument where columns lie further
// apart in a part's panel than 16 bits tell.
ByteStream make_byte_stream(const PackedWeights& packed, const ByteStreamLayout& layout);

// What the stream was made of, to the bit but for that rounding. scales: (out_channels) of s8 weights, else null.
PackedWeights pack_byte_stream(const ByteStream& stream, const WeightSizes& sizes, const float* scales);

// The widest that all columns of a part's panel may lie apart.
inline constexpr std::int64_t kMostPanelLines = 1 << 16;

}  // namespace sovs
