// In which tiles a map lies that lives inside a plan.
#pragma once
#include "maps/tensor.h"

namespace sovs {

// Of maps in lines, and of floats that steps on bytes write, in the lines of those: enough pixels to pay for a row's start.
inline std::int64_t line_tile_for(const TensorDesc& map, bool same_for_all) {
    constexpr std::int64_t kUsual = 320, kLargest = 512;
    if (same_for_all) return kUsual;
    const std::int64_t most = map.pixels() <= kLargest ? kLargest : kUsual;
    const std::int64_t tiles = (map.pixels() + most - 1) / most;
    const std::int64_t line = map.in_lines() ? map.line() : kByteLine;
    const std::int64_t lines = ((map.pixels() + tiles - 1) / tiles + line - 1) / line;
    // Channels a round number of lines apart would push each other out of the L1; what no pixel fills costs memory alone.
    return (lines % 4 == 0 ? lines + 1 : lines) * line;
}

// Pixels of a tile: whole vectors on every ISA, enough to pay for a row's start, and rows of the map that nest with it;
// the same for maps of all sizes where weight streams must suit them all.
inline std::int64_t tile_for(const TensorDesc& map, bool same_for_all) {
    constexpr std::int64_t kVector = 16, kSmallest = 64, kLargest = 128, kUsual = 80;
    if (map.in_lines()) return line_tile_for(map, same_for_all);
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
