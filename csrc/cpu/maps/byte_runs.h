// Copies runs of pixels of one channel between a map of bytes and plain rows.
#pragma once
#include <cstring>

#include "maps/tensor.h"

namespace sovs {

inline void load_bytes(const Map& map, std::int64_t pixel, std::int64_t channel, std::int64_t pixels,
                       std::uint8_t* to) {
    for (std::int64_t count = 0; pixels > 0; pixels -= count, pixel += count, to += count) {
        count = std::min(pixels, map.run(pixel));
        std::memcpy(to, map.at<std::uint8_t>(pixel) + channel * map.channel_stride(), static_cast<std::size_t>(count));
    }
}

inline void store_bytes(const Map& map, std::int64_t pixel, std::int64_t channel, std::int64_t pixels,
                        const std::uint8_t* from) {
    for (std::int64_t count = 0; pixels > 0; pixels -= count, pixel += count, from += count) {
        count = std::min(pixels, map.run(pixel));
        std::memcpy(map.at<std::uint8_t>(pixel) + channel * map.channel_stride(), from,
                    static_cast<std::size_t>(count));
    }
}

}  // namespace sovs
