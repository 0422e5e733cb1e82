#include "conv/rows_backend.h"

#include <algorithm>

#include "base/scratch.h"
#include "conv/conv_tiles.h"
#include "kernels/isa.h"

namespace sovs {
namespace {

// Input rows or columns that an interval of outputs reads.
Range span(std::int64_t begin, std::int64_t end, std::int64_t stride, std::int64_t dilation, std::int64_t kernel,
           std::int64_t pad, std::int64_t size) {
    const std::int64_t first = begin * stride - pad, last = (end - 1) * stride + (kernel - 1) * dilation - pad;
    const std::int64_t from = std::clamp<std::int64_t>(first, 0, size);
    return {from, std::clamp<std::int64_t>(last + 1, from, size)};
}

WeightDemands demands_of(const Weights& weights) {
    return {weights.density(), weights.sizes().block.rows, weights.live(), weights.held_once()};
}

class RowsStep final : public Step {
public:
    RowsStep(const char* name, const ConvCase& conv, const Tuning& tuning, int threads);

    long units() const override { return static_cast<long>(tiling().grid.units); }
    int parts() const override { return static_cast<int>(tiling().grid.tiles_x) * tiling().row_parts; }
    Range writes(long unit) const override { return tiles_.writes(unit); }
    Range reads(long unit, std::size_t input) const override;
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return name_; }
    const Tiling* chosen_tiling() const override { return &tiling(); }

private:
    const Tiling& tiling() const { return tiles_.tiling(); }
    // The part of the stream that the part begins with.
    int stream_part(int part) const { return part * tiling().stream_parts / tiling().row_parts; }
    void multiply(const ConvTile& tile, const KTile& k_tile, int part, const float* panel, float* sums,
                  std::ptrdiff_t channel_stride, float* out, const float* residual) const;
    void store(const ConvTile& tile, int part, const float* sums, const StepMaps& maps) const;

    const char* name_;
    std::shared_ptr<const Weights> weights_;
    ConvShape shape_;
    Activation activation_;
    TensorDesc input_, output_;
    ConvTiles tiles_;
    std::shared_ptr<const Stream> stream_;
};

RowsStep::RowsStep(const char* name, const ConvCase& conv, const Tuning& tuning, int threads)
    : name_(name),
      weights_(conv.weights),
      shape_(checked_shape(*weights_, conv.params, conv.input, conv.output)),
      activation_(conv.params.activation),
      input_(conv.input),
      output_(conv.output),
      tiles_(shape_, input_, output_,
             choose_tiling(shape_, input_, demands_of(*weights_), tuning, kernels(), std::max(1, threads))),
      stream_(weights_->stream({tiles_.panel(), tiling().k_tile, tiling().stream_parts})) {}

Range RowsStep::reads(long unit, std::size_t input) const {
    if (input > 0) return writes(unit);  // the residual
    const Grid& grid = tiling().grid;
    if (grid.flat) return writes(unit);
    const std::int64_t begin = unit % grid.tiles_y * tiling().tile_rows;
    const Range rows = span(begin, std::min<std::int64_t>(begin + tiling().tile_rows, output_.h), shape_.stride_h,
                            shape_.dilation_h, shape_.kernel_h, shape_.pad_h, input_.h);
    return rows_of(input_, unit / grid.tiles_y, rows.begin, rows.end);
}

void RowsStep::multiply(const ConvTile& tile, const KTile& k_tile, int part, const float* panel, float* sums,
                        std::ptrdiff_t channel_stride, float* out, const float* residual) const {
    const KernelTable& table = kernels();
    const bool fours = weights_->sizes().block.rows == 4;
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
    task.channels = static_cast<std::int32_t>(output_.c);
    task.epilogue = {nullptr, nullptr, channel_stride, 1, activation_};

    const int widest = fours ? table.max_vectors4 : table.max_vectors1;
    const int calls = (tile.vectors + widest - 1) / widest;
    for (int call = 0, vector = 0; call < calls; ++call) {
        const int vectors = (tile.vectors - vector + calls - call - 1) / (calls - call);
        const std::ptrdiff_t lane = std::ptrdiff_t{vector} * table.width;
        task.panel = panel + lane;
        task.sums = sums + lane;
        task.epilogue.out = out == nullptr ? nullptr : out + lane;
        task.epilogue.residual = residual == nullptr ? nullptr : residual + lane;
        task.pixels = static_cast<std::int32_t>(
            std::min<std::ptrdiff_t>(tile.lanes - lane, std::ptrdiff_t{vectors} * table.width));
        (fours ? table.rows4 : table.rows1)[vectors](task);
        vector += vectors;
    }
}

void RowsStep::store(const ConvTile& tile, int part, const float* sums, const StepMaps& maps) const {
    const std::int64_t block_rows = weights_->sizes().block.rows;
    const std::int64_t begin = stream_->part_begin[stream_part(part)] * block_rows;
    const std::int64_t end = std::min(output_.c, stream_->part_begin[stream_part(part + 1)] * block_rows);
    if (begin >= end) return;  // more parts than block rows
    const Map& out = maps.output;
    StoreTask task;
    task.sums_stride = std::ptrdiff_t{tile.vectors} * kernels().width;
    task.channels = static_cast<std::int32_t>(end - begin);
    Epilogue& epilogue = task.epilogue;
    epilogue = {nullptr, nullptr, out.channel_stride(), out.pixel_stride(), activation_};
    for (std::int32_t r = 0; r < tile.rows; ++r) {
        std::int64_t pixel = tiles_.first_pixel(tile) + r * output_.w;
        task.sums = sums + begin * task.sums_stride + r * tiles_.panel().pitch;
        for (std::int32_t left = tile.cols; left > 0; left -= task.pixels) {
            task.pixels = static_cast<std::int32_t>(std::min<std::int64_t>(left, out.run(pixel)));
            const std::ptrdiff_t first = begin * epilogue.channel_stride;
            epilogue.out = out.at(pixel) + first;
            epilogue.residual = maps.inputs[1].data == nullptr ? nullptr : maps.inputs[1].at(pixel) + first;
            kernels().store(task);
            pixel += task.pixels;
            task.sums += task.pixels;
        }
    }
}

void RowsStep::run(long unit, int part, const StepMaps& maps) const {
    const int row_part = part % tiling().row_parts;
    const ConvTile tile = tiles_.at(unit, part / tiling().row_parts);
    const std::ptrdiff_t lanes = std::ptrdiff_t{tile.vectors} * kernels().width;
    float* out = tiles_.direct(tile, maps.output);
    Scratch scratch;
    float* const packed = tiling().in_place ? nullptr : scratch.take(tiles_.panel_floats());
    float* const sums = scratch.take(weights_->block_row_count() * weights_->sizes().block.rows * lanes);
    const float* residual =
        out == nullptr || maps.inputs[1].data == nullptr ? nullptr : maps.inputs[1].at(tiles_.first_pixel(tile));
    for (const KTile& k_tile : stream_->tiles) {
        const float* panel = packed;
        if (tiling().in_place)
            panel = maps.inputs[0].at(tile.x) + k_tile.channel_begin * maps.inputs[0].channel_stride();
        else
            tiles_.pack(tile, k_tile, maps.inputs[0], packed);
        multiply(tile, k_tile, row_part, panel, sums, maps.output.channel_stride(), out, residual);
    }
    if (out == nullptr) store(tile, row_part, sums, maps);
}

class RowsBackend final : public ConvBackend {
public:
    RowsBackend(std::int64_t block_rows, const char* name) : block_rows_(block_rows), name_(name) {}

    const char* name() const override { return name_; }

    bool fits(const ConvCase& conv) const override {
        return conv.input.dtype == DType::f32 && conv.weights->sizes().block.rows == block_rows_;
    }

    // As if no stream were live: one that the timing of another candidate holds says nothing about the plan.
    std::vector<Tuning> candidates(const ConvCase& conv, std::size_t most) const override {
        WeightDemands demands = demands_of(*conv.weights);
        demands.live.clear();
        return candidate_tunings(checked_shape(*conv.weights, conv.params, conv.input, conv.output), conv.input,
                                 demands, kernels(), most);
    }

    std::unique_ptr<const Step> make(const ConvCase& conv, const Tuning& tuning, int threads) const override {
        return std::make_unique<const RowsStep>(name_, conv, tuning, threads);
    }

private:
    std::int64_t block_rows_;
    const char* name_;
};

}  // namespace

const ConvBackend& rows1_backend() {
    static const RowsBackend backend(1, "sparse rows1");
    return backend;
}

const ConvBackend& rows4_backend() {
    static const RowsBackend backend(4, "sparse rows4");
    return backend;
}

}  // namespace sovs
