// The form of int8 and bf16 weight streams: what their kernels of rows read, entry by entry.
#pragma once
#include <cstdint>

namespace sovs {

// Up to four stored columns of `kRows` output channels: any four, of any channel and tap. Weights of 0 fill up.
template <int kRows>
struct ByteEntry {
    std::int8_t weights[kRows][4];
    std::uint16_t lines[4];  // where each column's pixels start in the panel, in lines of 64 bytes
};

// The same of two columns of bf16 weights.
template <int kRows>
struct PairEntry {
    std::uint16_t weights[kRows][2];
    std::uint16_t lines[2];
};

// A run of block rows with equally many entries.
struct ByteRowGroup {
    std::int32_t entries, block_rows;
};

// Kernels look so many rows ahead.
inline constexpr int kRowsAhead = 8;

}  // namespace sovs
