// Copies runs of pixels between a map, whatever its tiles, and plain rows of one channel each.
#pragma once
#include "kernels/isa.h"
#include "maps/tensor.h"

namespace sovs {

inline void load_rows(const Map& map, std::int64_t pixel, std::int64_t channel, std::int32_t channels,
                      std::int64_t pixels, float* rows, std::ptrdiff_t row_stride) {
    PackTask task;
    task.channel_stride = map.channel_stride();
    task.pixel_stride = map.pixel_stride();
    task.channels = channels;
    task.panel_channel_stride = row_stride;
    for (std::int64_t left = pixels; left > 0; left -= task.pixels) {
        task.pixels = static_cast<std::int32_t>(std::min(left, map.run(pixel)));
        task.source = map.at(pixel) + channel * task.channel_stride;
        task.panel = rows;
        kernels().pack(task);
        rows += task.pixels;
        pixel += task.pixels;
    }
}

// `residual`, where it has data, is added; it lies in the map's tiles.
inline void store_rows(const Map& map, std::int64_t pixel, std::int64_t channel, std::int32_t channels,
                       std::int64_t pixels, const float* rows, const Map& residual = {}) {
    StoreTask task;
    task.sums_stride = pixels;
    task.channels = channels;
    task.epilogue = {nullptr, nullptr, map.channel_stride(), map.pixel_stride(), Activation::none};
    for (std::int64_t left = pixels; left > 0; left -= task.pixels) {
        task.pixels = static_cast<std::int32_t>(std::min(left, map.run(pixel)));
        task.sums = rows;
        task.epilogue.out = map.at(pixel) + channel * task.epilogue.channel_stride;
        if (residual.data != nullptr)
            task.epilogue.residual = residual.at(pixel) + channel * task.epilogue.channel_stride;
        kernels().store(task);
        rows += task.pixels;
        pixel += task.pixels;
    }
}

}  // namespace sovs
