#include "steps/attention_step.h"

#include <limits>

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"
#include "kernels/quantize_rows.h"

namespace sovs {
namespace {

constexpr std::int64_t kKeys = 96;  // at a time: their scores stay in the L1

// A run of pixels of some channels as rows: where they lie, or copied.
struct Rows {
    const float* data;
    std::ptrdiff_t stride;
};

Rows rows_of_run(const Map& map, std::int64_t pixel, std::int64_t channel, std::int64_t channels, std::int64_t pixels,
                 float* copy) {
    if (map.pixel_stride() == 1 && map.run(pixel) >= pixels)
        return {map.at(pixel) + channel * map.channel_stride(), map.channel_stride()};
    load_rows(map, pixel, channel, static_cast<std::int32_t>(channels), pixels, copy, pixels);
    return {copy, pixels};
}

}  // namespace

AttentionStep::AttentionStep(const AttentionParams& params, const TensorDesc& input, const TensorDesc& queries,
                             const TensorDesc& output)
    : params_(params), input_(input), output_(output) {
    require(output.c == params.heads * params.depth && output.n == input.n && queries.n == input.n &&
                output.h == queries.h && output.w == queries.w,
            "expected an output with the heads' channels and the queries' size");
    const std::int64_t all = output.h * output.w, most = std::int64_t{kernels().max_vectors4} * kernels().width;
    const std::int64_t vectors = (all + kernels().width - 1) / kernels().width;
    // Even blocks: a last one of few queries would cost as much as a full vector.
    const std::int64_t blocks = (vectors + kernels().max_vectors4 - 1) / kernels().max_vectors4;
    queries_ = std::min(most, (vectors + blocks - 1) / blocks * kernels().width);
    blocks_ = (all + queries_ - 1) / queries_;
}

Range AttentionStep::writes(long unit) const {
    const std::int64_t all = output_.h * output_.w, first = unit % blocks_ * queries_, image = unit / blocks_ * all;
    return {image + first, image + std::min(first + queries_, all)};
}

Range AttentionStep::reads(long unit, std::size_t) const { return rows_of(input_, unit / blocks_, 0, input_.h); }

void AttentionStep::run(long unit, int part, const StepMaps& maps) const {
    const KernelTable& table = kernels();
    const std::int64_t head = part * params_.depth;
    const Range queries = writes(unit), keys = reads(unit, 0);
    const std::int64_t count = queries.end - queries.begin;
    const std::int64_t vectors = (count + table.width - 1) / table.width, stride = vectors * table.width;

    Scratch scratch;
    float* const query = scratch.take(params_.depth * stride);
    float* const key_copy = scratch.take(params_.depth * kKeys);
    float* const value_copy = scratch.take(params_.depth * kKeys);
    float* const sums = scratch.take(params_.depth * stride);
    float* const scores = scratch.take(kKeys * stride);
    float* const state = scratch.take(2 * stride);
    const Map& from = maps.inputs[1].data == nullptr ? maps.inputs[0] : maps.inputs[1];
    const auto depth = static_cast<std::int32_t>(params_.depth);
    if (count < stride) table.clear(query, stride, depth, static_cast<std::int32_t>(stride));
    load_rows(from, queries.begin, params_.query + head, depth, count, query, stride);
    table.clear(sums, stride, depth, static_cast<std::int32_t>(stride));

    AttendTask task;
    task.query = query;
    task.depth = depth;
    task.scale = params_.scale;
    task.scores = scores;
    task.stride = stride;
    task.top = state;
    task.total = state + stride;
    task.sums = sums;
    std::fill_n(task.top, stride, -std::numeric_limits<float>::max());
    std::fill_n(task.total, stride, 0.0f);
    // Blocks are counted from the image's first pixel, wherever map tiles end: that alone decides the order of sums.
    for (std::int64_t key = keys.begin; key < keys.end; key += kKeys) {
        const std::int64_t some = std::min(kKeys, keys.end - key);
        const Rows k = rows_of_run(maps.inputs[0], key, params_.key + head, params_.depth, some, key_copy);
        const Rows v = rows_of_run(maps.inputs[0], key, params_.value + head, params_.depth, some, value_copy);
        task.keys = static_cast<std::int32_t>(some);
        task.key = k.data;
        task.key_stride = k.stride;
        task.value = v.data;
        task.value_stride = v.stride;
        table.attend[vectors](task);
    }
    table.finish_attention(task, static_cast<std::int32_t>(count));
    if (output_.dtype == DType::u8)
        return quantize_rows(maps.output, output_.quant, queries.begin, head, depth, count, task.sums, stride);
    // Rows of `count` pixels, as store_rows takes them.
    for (std::int32_t d = 1; d < depth && count < stride; ++d)
        std::copy_n(task.sums + d * stride, count, task.sums + d * count);
    store_rows(maps.output, queries.begin, head, depth, count, task.sums);
}

Attention::Attention(const AttentionParams& params) : params_(params) {
    require(params.heads > 0 && params.depth > 0, "expected at least 1 head and 1 channel of a head");
}

std::int64_t Attention::out_channels(const std::vector<std::int64_t>& inputs) const {
    require_inputs(inputs.size(), 1, 2);
    const std::int64_t channels = params_.heads * params_.depth;
    const auto inside = [&](std::int64_t first, std::int64_t all) { return first >= 0 && first + channels <= all; };
    require(inside(params_.query, inputs.back()) && inside(params_.key, inputs[0]) && inside(params_.value, inputs[0]),
            "expected maps with the channels of all heads");
    return channels;
}

MapSize Attention::out_size(const std::vector<TensorDesc>& inputs) const { return {inputs.back().h, inputs.back().w}; }

std::unique_ptr<const Step> Attention::make(const StepPlace& place, int) const {
    return std::make_unique<const AttentionStep>(params_, place.inputs[0], place.inputs.back(), place.output);
}

}  // namespace sovs
