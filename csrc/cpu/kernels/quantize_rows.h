// Plain rows of floats, one for each channel, to a map of u8.
#pragma once
#include "kernels/byte_table.h"
#include "maps/tensor.h"

namespace sovs {

inline void quantize_rows(const Map& map, const Quant& quant, std::int64_t pixel, std::int64_t channel,
                          std::int64_t channels, std::int64_t pixels, const float* rows, std::ptrdiff_t row_stride) {
    for (std::int64_t count = 0; pixels > 0; pixels -= count, pixel += count, rows += count) {
        count = std::min(pixels, map.run(pixel));
        byte_kernels().quantize({rows, row_stride, channels, count, 1.0f / quant.scale,
                                 static_cast<float>(quant.zero_point),
                                 map.at<std::uint8_t>(pixel) + channel * map.channel_stride(), map.channel_stride()});
    }
}

}  // namespace sovs
