// In which tiles a map lies that lives inside a plan.
#pragma once
#include "maps/tensor.h"

namespace sovs {

// Of bytes: whole cache lines, and enough pixels to pay for a row's start.
inline std::int64_t byte_tile_for(const TensorDesc& map, bool same_for_all) {
    constexpr std::int64_t kUsual = 5 * kByteLine, kLargest = 8 * kByteLine;
    if (same_for_all) return kUsual;
    const std::int64_t most = map.pixels() <= kLargest ? kLargest : kUsual;
    const std::int64_t tiles = (map.pixels() + most - 1) / most;
    const std::int64_t tile = whole_byte_lines((map.pixels() + tiles - 1) / tiles);
    // Channels a round number of lines apart would push each other out of the L1; what no pixel fills costs memory alone.
    return tile / kByteLine % 4 == 0 ? tile + kByteLine : tile;
}

// Pixels of a tile: whole vectors on every ISA, enough to pay for a row's start, and rows of the map that nest with it;
// the same for maps of all sizes where weight streams must suit them all.
inline std::int64_t tile_for(const TensorDesc& map, bool same_for_all) {
    constexpr std::int64_t kVector = 16, kSmallest = 64, kLargest = 128, kUsual = 80;
    if (size_of(map.dtype) == 1) return byte_tile_for(map, same_for_all);
    if (same_for_all) return kUsual;
    const std::int64_t all = (map.pixels() + kVector - 1) / kVector * kVector;
    if (all <= kLargest) return all;
    for (std::int64_t tile = kUsual; tile <= kLargest; tile += kVector)
        if (map.w % tile == 0 || tile % map.w == 0) return tile;
    for (std::int64_t tile = kUsual; tile >= kSmallest; tile -= kVector)
        if (map.w % tile == 0 || tile % map.w == 0) return tile;
    return kUsual;
}

}  // namespace sovs
