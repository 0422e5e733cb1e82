#include "conv/conv_step.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/isa.h"

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

ConvStep::ConvStep(std::shared_ptr<const Weights> weights, const ConvParams& params, const TensorDesc& input,
                   const TensorDesc& output, const Tuning& tuning, int threads)
    : weights_(std::move(weights)),
      shape_(checked_shape(*weights_, params, input, output)),
      activation_(params.activation),
      input_(input),
      output_(output),
      tiles_(shape_, input, output,
             choose_tiling(shape_, input,
                           {weights_->density(), weights_->sizes().block_rows, weights_->live(), weights_->held_once()},
                           tuning, kernels(), std::max(1, threads))),
      stream_(weights_->stream({tiles_.panel(), tiling().k_tile, tiling().stream_parts})) {}

Range ConvStep::reads(long unit) const {
    const Grid& grid = tiling().grid;
    if (grid.flat) return writes(unit);
    const std::int64_t begin = unit % grid.tiles_y * tiling().tile_rows;
    const Range rows = span(begin, std::min<std::int64_t>(begin + tiling().tile_rows, output_.h), shape_.stride_h,
                            shape_.dilation_h, shape_.kernel_h, shape_.pad_h, input_.h);
    return rows_of(input_, unit / grid.tiles_y, rows.begin, rows.end);
}

void ConvStep::multiply(const ConvTile& tile, const KTile& k_tile, int part, const float* panel, float* sums,
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

void ConvStep::store(const ConvTile& tile, int part, const float* sums, const StepMaps& maps) const {
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
        std::int64_t pixel = tiles_.first_pixel(tile) + r * output_.w;
        task.sums = sums + begin * task.sums_stride + r * tiles_.panel().pitch;
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
    const int row_part = part % tiling().row_parts;
    const ConvTile tile = tiles_.at(unit, part / tiling().row_parts);
    const std::ptrdiff_t lanes = std::ptrdiff_t{tile.vectors} * kernels().width;
    if (!tiling().in_place) scratch.panel.reserve(static_cast<std::size_t>(tiles_.panel_floats()));
    scratch.sums.reserve(static_cast<std::size_t>(weights_->block_row_count() * weights_->sizes().block_rows * lanes));

    float* out = tiles_.direct(tile, maps.output);
    const float* residual = out == nullptr || maps.residual.data == nullptr ? nullptr : maps.residual.at(tiles_.first_pixel(tile));
    for (const KTile& k_tile : stream_->tiles) {
        const float* panel = scratch.panel.data();
        if (tiling().in_place)
            panel = maps.input.at(tile.x) + k_tile.channel_begin * maps.input.channel_stride();
        else
            tiles_.pack(tile, k_tile, maps.input, scratch.panel.data());
        multiply(tile, k_tile, row_part, panel, scratch.sums.data(), maps.output.channel_stride(), out, residual);
    }
    if (out == nullptr) store(tile, row_part, scratch.sums.data(), maps);
}

}  // namespace sovs
