#include "training/weight_gradient.h"

#include <algorithm>

#include "base/buffer_pool.h"
#include "base/error.h"
#include "base/scratch.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"
#include "base/thread_pool.h"

namespace sovs {
namespace {

// Chunks cost a set of sums each, which must be small beside the products.
int chunks_of(const TensorDesc& output) {
    constexpr std::int64_t kPixels = 2048, kMost = 16;
    return static_cast<int>(std::clamp<std::int64_t>(output.pixels() / kPixels, 1, kMost));
}

// Few chunks leave threads idle: then the output channels are cut too, though each part packs the inputs again.
Tuning parts_for(Tuning tuning, int chunks, int threads) {
    if (tuning.row_parts == 0 && threads > 1)
        tuning.row_parts = chunks >= 2 * threads ? 1 : (2 * threads + chunks - 1) / chunks;
    return tuning;
}

struct GiveBack {
    void operator()(float* buffer) const { give_buffer(buffer); }
};

}  // namespace

WeightGradient::WeightGradient(std::shared_ptr<const Weights> weights, const ConvParams& params,
                               const TensorDesc& input, const TensorDesc& output, const Tuning& tuning, int threads)
    : weights_(std::move(weights)),
      packed_(weights_->packed()),
      shape_(checked_shape(*weights_, params, input, output)),
      input_(input),
      output_(output),
      chunks_(chunks_of(output)),
      // For one thread, and whatever streams live: tiles settle the order of the sums.
      tiles_(shape_, input, output,
             choose_tiling(shape_, input, {weights_->density(), weights_->sizes().block.rows, {}, false},
                           parts_for(tuning, chunks_, threads), kernels(), 1)),
      stream_(expand_stream(*packed_, {tiles_.panel(), tiling().k_tile, tiling().row_parts})),
      positions_(stream_positions(packed_->structure, stream_.layout)) {}

void WeightGradient::load_gradients(const ConvTile& tile, const Map& grad, std::int64_t begin, std::int64_t end,
                                    float* rows) const {
    const std::ptrdiff_t stride = std::ptrdiff_t{tile.vectors} * kernels().width;
    for (std::int32_t r = 0; r < tile.rows; ++r)
        load_rows(grad, tiles_.first_pixel(tile) + r * output_.w, begin, static_cast<std::int32_t>(end - begin),
                  tile.cols, rows + begin * stride + r * tiles_.panel().pitch, stride);
}

void WeightGradient::sample(const ConvTile& tile, const KTile& k_tile, int part, const float* panel, const float* grad,
                            std::ptrdiff_t grad_stride, float* sums) const {
    const KernelTable& table = kernels();
    const bool fours = weights_->sizes().block.rows == 4;
    SampledTask task{};
    task.groups = stream_.groups.data() + k_tile.group_begin[part];
    task.group_count = k_tile.group_begin[part + 1] - k_tile.group_begin[part];
    task.row_ids = stream_.row_ids.data();
    task.entries = stream_.entries.data();
    task.offsets = stream_.offsets.data();
    task.grad_stride = grad_stride;
    task.channels = static_cast<std::int32_t>(output_.c);
    task.sums = sums;
    const int widest = fours ? table.max_sampled4 : table.max_sampled1;
    const int calls = (tile.vectors + widest - 1) / widest;
    for (int call = 0, vector = 0; call < calls; ++call) {
        const int vectors = (tile.vectors - vector + calls - call - 1) / (calls - call);
        const std::ptrdiff_t lane = std::ptrdiff_t{vector} * table.width;
        task.panel = panel + lane;
        task.grad = grad + lane;
        task.lanes = static_cast<std::int32_t>(
            std::min<std::ptrdiff_t>(tile.lanes - lane, std::ptrdiff_t{vectors} * table.width));
        (fours ? table.sampled4 : table.sampled1)[vectors](task);
        vector += vectors;
    }
}

void WeightGradient::run_part(int chunk, int part, const Map& input, const Map& grad, float* sums) const {
    const std::int64_t rows = weights_->sizes().block.rows;
    const std::int64_t begin = stream_.part_begin[part] * rows;
    const std::int64_t end = std::min(output_.c, stream_.part_begin[part + 1] * rows);
    if (begin >= end) return;  // more parts than block rows
    for (const KTile& k_tile : stream_.tiles)
        for (std::int32_t g = k_tile.group_begin[part]; g < k_tile.group_begin[part + 1]; ++g) {
            const RowGroup& group = stream_.groups[g];
            std::fill_n(sums + group.first_entry * rows, std::int64_t{group.entries} * group.block_rows * rows, 0.0f);
        }
    // Lanes that no pixel fills meet gradients of zero, and must not hold what another layer left: it might be NaN.
    Scratch scratch;
    float* const packed = scratch.take(tiles_.panel_floats());
    std::fill_n(packed, tiles_.panel_floats(), 0.0f);
    float* copied = nullptr;  // gradients of a tile, at most of the largest one
    const Grid& grid = tiling().grid;
    const std::int64_t tiles = grid.units * grid.tiles_x;
    std::int32_t cleared_rows = 0, cleared_cols = 0;
    for (std::int64_t i = tiles * chunk / chunks_; i < tiles * (chunk + 1) / chunks_; ++i) {
        const ConvTile tile = tiles_.at(static_cast<long>(i / grid.tiles_x), i % grid.tiles_x);
        std::ptrdiff_t stride = grad.channel_stride();
        const float* rows_of_grad = tiles_.direct(tile, grad);
        if (rows_of_grad == nullptr) {
            stride = std::ptrdiff_t{tile.vectors} * kernels().width;
            if (copied == nullptr) copied = scratch.take(output_.c * tiles_.panel().lanes);
            if (tile.rows != cleared_rows || tile.cols != cleared_cols)  // the lanes between rows have moved
                std::fill_n(copied + begin * stride, (end - begin) * stride, 0.0f);
            cleared_rows = tile.rows;
            cleared_cols = tile.cols;
            load_gradients(tile, grad, begin, end, copied);
            rows_of_grad = copied;
        }
        for (const KTile& k_tile : stream_.tiles) {
            if (k_tile.group_begin[part] == k_tile.group_begin[part + 1]) continue;
            const float* panel = packed;
            if (tiling().in_place)
                panel = input.at(tile.x) + k_tile.channel_begin * input.channel_stride();
            else
                tiles_.pack(tile, k_tile, input, packed);
            sample(tile, k_tile, part, panel, rows_of_grad, stride, sums);
        }
    }
}

// The sums of all chunks, in their order, to a block row's places in the dense gradient.
void WeightGradient::scatter(std::int64_t block_row, const float* sums, float* gradient) const {
    const WeightSizes& sizes = weights_->sizes();
    const std::int64_t columns = sizes.in_channels * sizes.taps(), rows = sizes.block.rows;
    const std::ptrdiff_t chunk_floats = static_cast<std::ptrdiff_t>(packed_->values.size());
    const std::int64_t first = block_row * rows, last = std::min(sizes.out_channels, first + rows);
    std::fill_n(gradient + first * columns, (last - first) * columns, 0.0f);
    for (std::int64_t b = packed_->structure.row_ptr[block_row]; b < packed_->structure.row_ptr[block_row + 1]; ++b)
        for (std::int64_t row = first; row < last; ++row) {
            const float* sum = sums + positions_[b] * rows + (row - first);
            float total = *sum;
            for (int chunk = 1; chunk < chunks_; ++chunk) total += sum[chunk * chunk_floats];
            gradient[row * columns + packed_->structure.keys[b]] = total;
        }
}

void WeightGradient::run(const float* input, const float* grad, float* gradient, int threads) const {
    const Map input_map(input_, const_cast<float*>(input), input_.tiles());
    const Map grad_map(output_, const_cast<float*>(grad), output_.tiles());
    const std::size_t floats = std::max<std::size_t>(1, packed_->values.size());
    const std::unique_ptr<float, GiveBack> sums(
        static_cast<float*>(take_buffer(floats * static_cast<std::size_t>(chunks_) * sizeof(float))));
    const int parts = tiling().row_parts;
    parallel_for(long{chunks_} * parts, threads, [&](long unit) {
        const int chunk = static_cast<int>(unit / parts);
        run_part(chunk, static_cast<int>(unit % parts), input_map, grad_map,
                 sums.get() + static_cast<std::size_t>(chunk) * floats);
    });
    constexpr std::int64_t kRows = 8;  // of a unit
    const std::int64_t rows = weights_->block_row_count();
    parallel_for(static_cast<long>((rows + kRows - 1) / kRows), threads, [&](long unit) {
        for (std::int64_t row = unit * kRows; row < std::min(rows, (unit + 1) * kRows); ++row)
            scatter(row, sums.get(), gradient);
    });
}

}  // namespace sovs
