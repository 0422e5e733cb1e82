// Copies runs of pixels of one channel between a map in lines and plain rows.
#pragma once
#include <cstring>

#include "maps/tensor.h"

namespace sovs {

template <typename Number>
inline void load_run(const Map& map, std::int64_t pixel, std::int64_t channel, std::int64_t pixels, Number* to) {
    for (std::int64_t count = 0; pixels > 0; pixels -= count, pixel += count, to += count) {
        count = std::min(pixels, map.run(pixel));
        std::memcpy(to, map.at<Number>(pixel) + channel * map.channel_stride(),
                    static_cast<std::size_t>(count) * sizeof(Number));
    }
}

template <typename Number>
inline void store_run(const Map& map, std::int64_t pixel, std::int64_t channel, std::int64_t pixels,
                      const Number* from) {
    for (std::int64_t count = 0; pixels > 0; pixels -= count, pixel += count, from += count) {
        count = std::min(pixels, map.run(pixel));
        std::memcpy(map.at<Number>(pixel) + channel * map.channel_stride(), from,
                    static_cast<std::size_t>(count) * sizeof(Number));
    }
}

}  // namespace sovs
