#include "conv_step.h"

#include <algorithm>

#include "error.h"
#include "isa.h"

namespace sovs {
namespace {

// Strides in floats of a map, as its grid sees it.
struct Strides {
    std::ptrdiff_t image, channel, row, pixel;
    Strides(const TensorDesc& map, std::int64_t grid_w) {
        const bool nhwc = map.layout == Layout::nhwc;
        image = map.c * map.h * map.w;
        channel = nhwc ? 1 : map.h * map.w;
        pixel = nhwc ? map.c : 1;
        row = grid_w * pixel;
    }
};

// Each thread's own working memory; it grows to the largest tile the thread has met.
struct Scratch {
    AlignedBuffer<float> panel, sums;
};
thread_local Scratch scratch;

ConvShape shape_of(const Weights::Packed& w, const ConvParams& p) {
    return {w.out_channels, w.in_channels, w.kernel_h, w.kernel_w, w.groups,
            p.stride_h, p.stride_w, p.pad_h, p.pad_w, p.dilation_h, p.dilation_w};
}

const ConvShape& checked(const ConvShape& shape, const TensorDesc& input, const TensorDesc& output) {
    require(shape.stride_h > 0 && shape.stride_w > 0, "expected strides of at least 1");
    require(shape.dilation_h > 0 && shape.dilation_w > 0, "expected dilations of at least 1");
    require(shape.pad_h >= 0 && shape.pad_w >= 0, "expected paddings of at least 0");
    require(input.c == shape.in_channels * shape.groups, "expected an input with the weight's channels");
    require(output.c == shape.out_channels, "expected an output with the weight's channels");
    require(output.n == input.n, "expected input and output of the same batch");
    require(output.layout == input.layout, "expected input and output of the same layout");
    require(shape.out_h(input.h) == output.h && shape.out_w(input.w) == output.w && output.h > 0 && output.w > 0,
            "expected an output of the size that the convolution gives");
    return shape;
}

}  // namespace

struct ConvStep::Tile {
    std::vector<Segment> segments;
    int vectors;
    std::int32_t pixels;  // valid lanes
    bool direct;          // its lanes are a contiguous run of each output channel
};

ConvStep::ConvStep(std::shared_ptr<const Weights> weights, const ConvParams& params, const TensorDesc& input,
                   const TensorDesc& output, const Tuning& tuning, int threads)
    : weights_(std::move(weights)),
      shape_(checked(shape_of(weights_->packed(), params), input, output)),
      relu_(params.relu),
      input_(input),
      output_(output),
      tiling_(choose_tiling(shape_, input, weights_->density(), weights_->packed().block_rows, tuning, kernels(),
                            std::max(1, threads))),
      panel_(shape_, tiling_.panel, tiling_.tile_rows, tiling_.tile_cols, kernels().width),
      stream_(weights_->stream(panel_, tiling_.k_tile, tiling_.row_parts)) {}

ConvStep::Tile ConvStep::tile_at(std::int64_t index) const {
    const Grid& grid = tiling_.grid;
    const int width = kernels().width;
    Tile tile{};
    if (grid.flat) {
        std::int64_t at = index * tiling_.tile_cols;
        const std::int64_t end = std::min(at + tiling_.tile_cols, grid.images * grid.out_w);
        tile.pixels = static_cast<std::int32_t>(end - at);
        for (std::int32_t lane = 0; at < end;) {
            const std::int64_t image = at / grid.out_w, x = at % grid.out_w;
            const auto cols = static_cast<std::int32_t>(std::min(end - at, grid.out_w - x));
            tile.segments.push_back({image, 0, x, 1, cols, lane});
            lane += cols;
            at += cols;
        }
        tile.direct = tile.segments.size() == 1 && output_.layout == Layout::nchw;
    } else {
        const std::int64_t tx = index % grid.tiles_x, ty = index / grid.tiles_x % grid.tiles_y;
        const std::int64_t image = index / (grid.tiles_x * grid.tiles_y);
        const std::int64_t y = ty * tiling_.tile_rows, x = tx * tiling_.tile_cols;
        const auto rows = static_cast<std::int32_t>(std::min<std::int64_t>(tiling_.tile_rows, grid.out_h - y));
        const auto cols = static_cast<std::int32_t>(std::min<std::int64_t>(tiling_.tile_cols, grid.out_w - x));
        tile.segments.push_back({image, y, x, rows, cols, 0});
        tile.pixels = (rows - 1) * panel_.pitch + cols;
        tile.direct = output_.layout == Layout::nchw && (rows == 1 || (panel_.pitch == cols && cols == grid.out_w));
    }
    tile.vectors = (tile.pixels + width - 1) / width;
    return tile;
}

void ConvStep::pack(const Tile& tile, const KTile& k_tile, const float* input, float* panel) const {
    const Grid& grid = tiling_.grid;
    const Strides strides(input_, grid.in_w);
    for (const Segment& segment : tile.segments)
        for (const SubPanel& sub : panel_.sub_panels) {
            PackTask task;
            task.source = input + segment.image * strides.image + k_tile.channel_begin * strides.channel;
            task.height = grid.in_h;
            task.width = grid.in_w;
            task.channel_stride = strides.channel;
            task.row_stride = strides.row;
            task.pixel_stride = strides.pixel;
            task.y0 = segment.y * shape_.stride_h + sub.origin_y - shape_.pad_h;
            task.x0 = segment.x * shape_.stride_w + sub.origin_x - shape_.pad_w;
            task.stride_h = shape_.stride_h;
            task.stride_w = shape_.stride_w;
            task.channels = static_cast<std::int32_t>(k_tile.channel_end - k_tile.channel_begin);
            task.rows = sub.rows - (panel_.tile_rows - segment.rows);
            task.cols = sub.cols - (panel_.tile_cols - segment.cols);
            if (grid.flat) task.cols = segment.cols;
            task.panel = panel + sub.start + segment.lane;
            task.panel_channel_stride = panel_.channel_stride;
            task.panel_row_stride = panel_.pitch;
            kernels().pack(task);
        }
}

void ConvStep::multiply(const Tile& tile, const KTile& k_tile, int part, const float* panel, float* sums, float* out,
                        const float* residual) const {
    const KernelTable& table = kernels();
    const bool fours = weights_->packed().block_rows == 4;
    RowsTask task{};
    task.groups = stream_->groups.data() + k_tile.group_begin[part];
    task.group_count = k_tile.group_begin[part + 1] - k_tile.group_begin[part];
    task.row_ids = stream_->row_ids.data();
    task.entries = stream_->entries.data();
    task.offsets = stream_->offsets.data();
    task.weights = stream_->weights.data();
    task.bias = weights_->bias();
    task.first = k_tile.first;
    task.last = k_tile.last;
    task.sums_stride = std::ptrdiff_t{tile.vectors} * table.width;
    task.channel_stride = Strides(output_, tiling_.grid.out_w).channel;
    task.channels = static_cast<std::int32_t>(output_.c);
    task.relu = relu_;

    const int widest = fours ? table.max_vectors4 : table.max_vectors1;
    const int calls = (tile.vectors + widest - 1) / widest;
    for (int call = 0, vector = 0; call < calls; ++call) {
        const int vectors = (tile.vectors - vector + calls - call - 1) / (calls - call);
        const std::ptrdiff_t lane = std::ptrdiff_t{vector} * table.width;
        task.panel = panel + lane;
        task.sums = sums + lane;
        task.out = out == nullptr ? nullptr : out + lane;
        task.residual = residual == nullptr ? nullptr : residual + lane;
        task.pixels = static_cast<std::int32_t>(std::min<std::ptrdiff_t>(tile.pixels - lane, std::ptrdiff_t{vectors} * table.width));
        (fours ? table.rows4 : table.rows1)[vectors](task);
        vector += vectors;
    }
}

void ConvStep::store(const Tile& tile, int part, const float* sums, float* output, const float* residual) const {
    const Strides strides(output_, tiling_.grid.out_w);
    const std::int64_t rows = weights_->packed().block_rows;
    const std::int64_t begin = stream_->part_begin[part] * rows;
    const std::int64_t end = std::min(output_.c, stream_->part_begin[part + 1] * rows);
    if (begin >= end) return;  // more parts than block rows
    StoreTask task;
    task.sums_stride = std::ptrdiff_t{tile.vectors} * kernels().width;
    task.channels = static_cast<std::int32_t>(end - begin);
    task.pitch = panel_.pitch;
    task.channel_stride = strides.channel;
    task.row_stride = strides.row;
    task.pixel_stride = strides.pixel;
    task.relu = relu_;
    for (const Segment& segment : tile.segments) {
        const std::ptrdiff_t place = segment.image * strides.image + begin * strides.channel + segment.y * strides.row +
                                     segment.x * strides.pixel;
        task.sums = sums + begin * task.sums_stride + segment.lane;
        task.rows = segment.rows;
        task.cols = segment.cols;
        task.out = output + place;
        task.residual = residual == nullptr ? nullptr : residual + place;
        kernels().store(task);
    }
}

void ConvStep::run_unit(long unit, const float* input, const float* residual, float* output) const {
    const int part = static_cast<int>(unit % tiling_.row_parts);
    const Tile tile = tile_at(unit / tiling_.row_parts);
    const std::ptrdiff_t lanes = std::ptrdiff_t{tile.vectors} * kernels().width;
    const std::ptrdiff_t reach = *std::max_element(panel_.tap_offsets.begin(), panel_.tap_offsets.end()) + lanes;
    scratch.panel.reserve(static_cast<std::size_t>(
        (tiling_.k_tile - 1) * panel_.channel_stride + std::max(panel_.channel_stride, reach)));
    scratch.sums.reserve(static_cast<std::size_t>(weights_->block_row_count() * weights_->packed().block_rows * lanes));

    float* out = nullptr;
    const float* out_residual = nullptr;
    if (tile.direct) {
        const Strides strides(output_, tiling_.grid.out_w);
        const Segment& segment = tile.segments.front();
        const std::ptrdiff_t place = segment.image * strides.image + segment.y * strides.row + segment.x;
        out = output + place;
        if (residual != nullptr) out_residual = residual + place;
    }
    for (const KTile& k_tile : stream_->tiles) {
        pack(tile, k_tile, input, scratch.panel.data());
        multiply(tile, k_tile, part, scratch.panel.data(), scratch.sums.data(), out, out_residual);
    }
    if (!tile.direct) store(tile, part, scratch.sums.data(), output, residual);
}

}  // namespace sovs
