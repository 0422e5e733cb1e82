#include "conv_step.h"

#include <algorithm>

#include "error.h"
#include "isa.h"

namespace sovs {
namespace {

// Each thread's own working memory; it grows to the largest tile the thread has met.
struct Scratch {
    AlignedBuffer<float> panel, sums;
};
thread_local Scratch scratch;

// Input rows or columns that an interval of outputs reads.
Range span(std::int64_t begin, std::int64_t end, std::int64_t stride, std::int64_t dilation, std::int64_t kernel,
           std::int64_t pad, std::int64_t size) {
    const std::int64_t first = begin * stride - pad, last = (end - 1) * stride + (kernel - 1) * dilation - pad;
    const std::int64_t from = std::clamp<std::int64_t>(first, 0, size);
    return {from, std::clamp<std::int64_t>(last + 1, from, size)};
}

}  // namespace

ConvShape checked_shape(const Weights& weights, const ConvParams& p, const TensorDesc& input, const TensorDesc& output) {
    const WeightSizes& w = weights.sizes();
    const ConvShape shape{w.out_channels, w.in_channels, w.kernel_h, w.kernel_w, w.groups,
                          p.stride_h, p.stride_w, p.pad_h, p.pad_w, p.dilation_h, p.dilation_w};
    require(shape.stride_h > 0 && shape.stride_w > 0, "expected strides of at least 1");
    require(shape.dilation_h > 0 && shape.dilation_w > 0, "expected dilations of at least 1");
    require(shape.pad_h >= 0 && shape.pad_w >= 0, "expected paddings of at least 0");
    require(input.c == shape.in_channels * shape.groups, "expected an input with the weight's channels");
    require(output.c == shape.out_channels, "expected an output with the weight's channels");
    require(output.n == input.n, "expected input and output of the same batch");
    require(shape.out_h(input.h) == output.h && shape.out_w(input.w) == output.w && output.h > 0 && output.w > 0,
            "expected an output of the size that the convolution gives");
    return shape;
}

ConvStep::ConvStep(std::shared_ptr<const Weights> weights, const ConvParams& params, const TensorDesc& input,
                   const TensorDesc& output, const Tuning& tuning, int threads)
    : weights_(std::move(weights)),
      shape_(checked_shape(*weights_, params, input, output)),
      activation_(params.activation),
      input_(input),
      output_(output),
      tiling_(choose_tiling(
          shape_, input,
          {weights_->density(), weights_->sizes().block_rows, weights_->live(), weights_->held_once()}, tuning, kernels(),
          std::max(1, threads))),
      panel_(shape_, tiling_.panel, tiling_.tile_rows, tiling_.tile_cols, kernels().width, tiling_.room),
      stream_(weights_->stream({panel_, tiling_.k_tile, tiling_.stream_parts})) {
    const std::ptrdiff_t reach = *std::max_element(panel_.tap_offsets.begin(), panel_.tap_offsets.end()) + panel_.lanes;
    panel_floats_ = (tiling_.k_tile - 1) * panel_.channel_stride + std::max(panel_.channel_stride, reach);
}

Range ConvStep::writes(long unit) const {
    const Grid& grid = tiling_.grid;
    if (grid.flat) return {unit * tiling_.tile_cols, std::min<std::int64_t>((unit + 1) * tiling_.tile_cols, output_.pixels())};
    const std::int64_t begin = unit % grid.tiles_y * tiling_.tile_rows;
    return rows_of(output_, unit / grid.tiles_y, begin, std::min<std::int64_t>(begin + tiling_.tile_rows, output_.h));
}

Range ConvStep::reads(long unit) const {
    const Grid& grid = tiling_.grid;
    if (grid.flat) return writes(unit);
    const std::int64_t begin = unit % grid.tiles_y * tiling_.tile_rows;
    const Range rows = span(begin, std::min<std::int64_t>(begin + tiling_.tile_rows, output_.h), shape_.stride_h,
                            shape_.dilation_h, shape_.kernel_h, shape_.pad_h, input_.h);
    return rows_of(input_, unit / grid.tiles_y, rows.begin, rows.end);
}

ConvStep::Tile ConvStep::tile_at(long unit, std::int64_t column) const {
    const Grid& grid = tiling_.grid;
    Tile tile{};
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

std::int64_t ConvStep::first_pixel(const Tile& tile) const {
    return (tile.image * output_.h + tile.y) * output_.w + tile.x;
}

float* ConvStep::direct(const Tile& tile, const Map& map) const {
    const bool one_run = tile.rows == 1 || (panel_.pitch == tile.cols && tile.cols == output_.w);
    if (!one_run || map.tile == TensorDesc::kNhwc) return nullptr;
    const std::int64_t pixel = first_pixel(tile);
    return map.run(pixel) >= tile.lanes ? map.at(pixel) : nullptr;
}

// Pixels x, x + stride, ... of an input row that begins at row_pixel; x and all of them inside the image.
void ConvStep::pack_row(const KTile& k_tile, const Map& input, std::int64_t row_pixel, std::int64_t x,
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

void ConvStep::pack(const Tile& tile, const KTile& k_tile, const Map& input, float* panel) const {
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
            pack_row(k_tile, input, (tile.image * input_.h + y) * input_.w, x0 + begin * shape_.stride_w, shape_.stride_w,
                     static_cast<std::int32_t>(end - begin), to + begin);
        }
    }
}

void ConvStep::multiply(const Tile& tile, const KTile& k_tile, int part, const float* panel, float* sums,
                        std::ptrdiff_t channel_stride, float* out, const float* residual) const {
    const KernelTable& table = kernels();
    const bool fours = weights_->sizes().block_rows == 4;
    RowsTask task{};
    const std::int32_t first_group = k_tile.group_begin[stream_part(part)];
    task.groups = stream_->groups.data() + first_group;
    task.group_count = k_tile.group_begin[stream_part(part + 1)] - first_group;
    task.row_ids = stream_->row_ids.data();
    task.entries = stream_->entries.data();
    task.offsets = stream_->offsets.data();
    task.weights = stream_->weights.data();
    task.bias = weights_->bias();
    task.first = k_tile.first;
    task.last = k_tile.last;
    task.sums_stride = std::ptrdiff_t{tile.vectors} * table.width;
    task.channel_stride = channel_stride;
    task.channels = static_cast<std::int32_t>(output_.c);
    task.activation = activation_;

    const int widest = fours ? table.max_vectors4 : table.max_vectors1;
    const int calls = (tile.vectors + widest - 1) / widest;
    for (int call = 0, vector = 0; call < calls; ++call) {
        const int vectors = (tile.vectors - vector + calls - call - 1) / (calls - call);
        const std::ptrdiff_t lane = std::ptrdiff_t{vector} * table.width;
        task.panel = panel + lane;
        task.sums = sums + lane;
        task.out = out == nullptr ? nullptr : out + lane;
        task.residual = residual == nullptr ? nullptr : residual + lane;
        task.pixels = static_cast<std::int32_t>(std::min<std::ptrdiff_t>(tile.lanes - lane, std::ptrdiff_t{vectors} * table.width));
        (fours ? table.rows4 : table.rows1)[vectors](task);
        vector += vectors;
    }
}

void ConvStep::store(const Tile& tile, int part, const float* sums, const StepMaps& maps) const {
    const std::int64_t block_rows = weights_->sizes().block_rows;
    const std::int64_t begin = stream_->part_begin[stream_part(part)] * block_rows;
    const std::int64_t end = std::min(output_.c, stream_->part_begin[stream_part(part + 1)] * block_rows);
    if (begin >= end) return;  // more parts than block rows
    const Map& out = maps.output;
    StoreTask task;
    task.sums_stride = std::ptrdiff_t{tile.vectors} * kernels().width;
    task.channels = static_cast<std::int32_t>(end - begin);
    task.channel_stride = out.channel_stride();
    task.pixel_stride = out.pixel_stride();
    task.activation = activation_;
    for (std::int32_t r = 0; r < tile.rows; ++r) {
        std::int64_t pixel = first_pixel(tile) + r * output_.w;
        task.sums = sums + begin * task.sums_stride + r * panel_.pitch;
        for (std::int32_t left = tile.cols; left > 0; left -= task.pixels) {
            task.pixels = static_cast<std::int32_t>(std::min<std::int64_t>(left, out.run(pixel)));
            const std::ptrdiff_t first = begin * task.channel_stride;
            task.out = out.at(pixel) + first;
            task.residual = maps.residual.data == nullptr ? nullptr : maps.residual.at(pixel) + first;
            kernels().store(task);
            pixel += task.pixels;
            task.sums += task.pixels;
        }
    }
}

void ConvStep::run(long unit, int part, const StepMaps& maps) const {
    const int row_part = part % tiling_.row_parts;
    const Tile tile = tile_at(unit, part / tiling_.row_parts);
    const std::ptrdiff_t lanes = std::ptrdiff_t{tile.vectors} * kernels().width;
    if (!tiling_.in_place) scratch.panel.reserve(static_cast<std::size_t>(panel_floats_));
    scratch.sums.reserve(static_cast<std::size_t>(weights_->block_row_count() * weights_->sizes().block_rows * lanes));

    float* out = direct(tile, maps.output);
    const float* residual = out == nullptr || maps.residual.data == nullptr ? nullptr : maps.residual.at(first_pixel(tile));
    for (const KTile& k_tile : stream_->tiles) {
        const float* panel = scratch.panel.data();
        if (tiling_.in_place)
            panel = maps.input.at(tile.x) + k_tile.channel_begin * maps.input.channel_stride();
        else
            pack(tile, k_tile, maps.input, scratch.panel.data());
        multiply(tile, k_tile, row_part, panel, scratch.sums.data(), maps.output.channel_stride(), out, residual);
    }
    if (out == nullptr) store(tile, row_part, scratch.sums.data(), maps);
}

}  // namespace sovs
