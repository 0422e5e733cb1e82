#include "conv/conv_tiles.h"

#include <algorithm>

#include "kernels/isa.h"

namespace sovs {

ConvTiles::ConvTiles(const ConvShape& shape, const TensorDesc& input, const TensorDesc& output, const Tiling& tiling)
    : shape_(shape),
      input_(input),
      output_(output),
      tiling_(tiling),
      panel_(shape, tiling.panel, tiling.tile_rows, tiling.tile_cols, kernels().width, tiling.room) {
    const std::ptrdiff_t reach = *std::max_element(panel_.tap_offsets.begin(), panel_.tap_offsets.end()) + panel_.lanes;
    panel_floats_ = (tiling_.k_tile - 1) * panel_.channel_stride + std::max(panel_.channel_stride, reach);
}

Range ConvTiles::writes(long unit) const {
    const Grid& grid = tiling_.grid;
    if (grid.flat)
        return {unit * tiling_.tile_cols, std::min<std::int64_t>((unit + 1) * tiling_.tile_cols, output_.pixels())};
    const std::int64_t begin = unit % grid.tiles_y * tiling_.tile_rows;
    return rows_of(output_, unit / grid.tiles_y, begin, std::min<std::int64_t>(begin + tiling_.tile_rows, output_.h));
}

ConvTile ConvTiles::at(long unit, std::int64_t column) const {
    const Grid& grid = tiling_.grid;
    ConvTile tile{};
    if (grid.flat) {
        const Range run = writes(unit);
        tile.x = run.begin;
        tile.rows = 1;
        tile.cols = static_cast<std::int32_t>(run.end - run.begin);
    } else {
        tile.image = unit / grid.tiles_y;
        tile.y = unit % grid.tiles_y * tiling_.tile_rows;
        tile.x = column * tiling_.tile_cols;
        tile.rows = static_cast<std::int32_t>(std::min<std::int64_t>(tiling_.tile_rows, output_.h - tile.y));
        tile.cols = static_cast<std::int32_t>(std::min<std::int64_t>(tiling_.tile_cols, output_.w - tile.x));
    }
    tile.lanes = (tile.rows - 1) * panel_.pitch + tile.cols;
    tile.vectors = (tile.lanes + kernels().width - 1) / kernels().width;
    return tile;
}

std::int64_t ConvTiles::first_pixel(const ConvTile& tile) const {
    return (tile.image * output_.h + tile.y) * output_.w + tile.x;
}

float* ConvTiles::direct(const ConvTile& tile, const Map& map) const {
    const bool one_run = tile.rows == 1 || (panel_.pitch == tile.cols && tile.cols == output_.w);
    if (!one_run || map.tile == TensorDesc::kNhwc) return nullptr;
    const std::int64_t pixel = first_pixel(tile);
    return map.run(pixel) >= tile.lanes ? map.at(pixel) : nullptr;
}

// Pixels x, x + stride, ... of an input row that begins at row_pixel; x and all of them inside the image.
void ConvTiles::pack_row(const KTile& k_tile, const Map& input, std::int64_t row_pixel, std::int64_t x,
                         std::int64_t stride, std::int32_t cols, float* panel) const {
    PackTask task;
    task.channel_stride = input.channel_stride();
    task.pixel_stride = input.pixel_stride() * stride;
    task.channels = static_cast<std::int32_t>(k_tile.channel_end - k_tile.channel_begin);
    task.panel_channel_stride = panel_.channel_stride;
    while (cols > 0) {
        const std::int64_t pixel = row_pixel + x;
        task.pixels = static_cast<std::int32_t>(std::min<std::int64_t>(cols, (input.run(pixel) + stride - 1) / stride));
        task.source = input.at(pixel) + k_tile.channel_begin * task.channel_stride;
        task.panel = panel;
        kernels().pack(task);
        panel += task.pixels;
        x += task.pixels * stride;
        cols -= task.pixels;
    }
}

void ConvTiles::pack(const ConvTile& tile, const KTile& k_tile, const Map& input, float* panel) const {
    if (tiling_.grid.flat) {
        pack_row(k_tile, input, 0, tile.x, 1, tile.cols, panel);
        return;
    }
    const KernelTable& table = kernels();
    const auto channels = static_cast<std::int32_t>(k_tile.channel_end - k_tile.channel_begin);
    for (const SubPanel& sub : panel_.sub_panels) {
        const std::int32_t rows = sub.rows - (panel_.tile_rows - tile.rows);
        const std::int32_t cols = sub.cols - (panel_.tile_cols - tile.cols);
        const std::int64_t x0 = tile.x * shape_.stride_w + sub.origin_x - shape_.pad_w;
        // The columns [begin, end) that lie inside the image.
        const std::int64_t begin =
            x0 >= 0 ? 0 : std::min<std::int64_t>(cols, (-x0 + shape_.stride_w - 1) / shape_.stride_w);
        const std::int64_t end =
            x0 >= input_.w ? begin
                           : std::max(begin, std::min<std::int64_t>(cols, (input_.w - 1 - x0) / shape_.stride_w + 1));
        for (std::int32_t r = 0; r < rows; ++r) {
            const std::int64_t y = (tile.y + r) * shape_.stride_h + sub.origin_y - shape_.pad_h;
            float* to = panel + sub.start + r * panel_.pitch;
            if (y < 0 || y >= input_.h || begin == end) {
                table.clear(to, panel_.channel_stride, channels, cols);
                continue;
            }
            if (begin > 0) table.clear(to, panel_.channel_stride, channels, static_cast<std::int32_t>(begin));
            if (end < cols)
                table.clear(to + end, panel_.channel_stride, channels, static_cast<std::int32_t>(cols - end));
            pack_row(k_tile, input, (tile.image * input_.h + y) * input_.w, x0 + begin * shape_.stride_w,
                     shape_.stride_w, static_cast<std::int32_t>(end - begin), to + begin);
        }
    }
}

}  // namespace sovs
