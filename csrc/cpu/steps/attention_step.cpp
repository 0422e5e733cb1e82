#include "steps/attention_step.h"

#include <limits>

#include "base/aligned.h"
#include "base/error.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

constexpr std::int64_t kKeys = 96;  // at a time: their scores stay in the L1

// Each thread's own working memory.
struct Scratch {
    AlignedBuffer<float> query, key, value, scores, sums, state;
};
thread_local Scratch scratch;

// A run of pixels of some channels as rows: where they lie, or copied.
struct Rows {
    const float* data;
    std::ptrdiff_t stride;
};

Rows rows_of_run(const Map& map, std::int64_t pixel, std::int64_t channel, std::int64_t channels, std::int64_t pixels,
                 AlignedBuffer<float>& copy) {
    if (map.pixel_stride() == 1 && map.run(pixel) >= pixels)
        return {map.at(pixel) + channel * map.channel_stride(), map.channel_stride()};
    copy.reserve(static_cast<std::size_t>(channels * pixels));
    load_rows(map, pixel, channel, static_cast<std::int32_t>(channels), pixels, copy.data(), pixels);
    return {copy.data(), pixels};
}

}  // namespace

AttentionStep::AttentionStep(const AttentionParams& params, const TensorDesc& input, const TensorDesc& queries,
                             const TensorDesc& output)
    : params_(params), input_(input), output_(output) {
    require(params.heads > 0 && params.depth > 0, "expected at least 1 head and 1 channel of a head");
    const std::int64_t channels = params.heads * params.depth;
    const auto inside = [&](std::int64_t first, const TensorDesc& map) { return first >= 0 && first + channels <= map.c; };
    require(inside(params.query, queries) && inside(params.key, input) && inside(params.value, input),
            "expected maps with the channels of all heads");
    require(output.c == channels && output.n == input.n && queries.n == input.n && output.h == queries.h &&
                output.w == queries.w,
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

Range AttentionStep::reads(long unit) const { return rows_of(input_, unit / blocks_, 0, input_.h); }

void AttentionStep::run(long unit, int part, const StepMaps& maps) const {
    const KernelTable& table = kernels();
    const std::int64_t head = part * params_.depth;
    const Range queries = writes(unit), keys = reads(unit);
    const std::int64_t count = queries.end - queries.begin;
    const std::int64_t vectors = (count + table.width - 1) / table.width, stride = vectors * table.width;

    scratch.query.reserve(static_cast<std::size_t>(params_.depth * stride));
    scratch.sums.reserve(static_cast<std::size_t>(params_.depth * stride));
    scratch.scores.reserve(static_cast<std::size_t>(kKeys * stride));
    scratch.state.reserve(static_cast<std::size_t>(2 * stride));
    const Map& from = maps.residual.data == nullptr ? maps.input : maps.residual;
    const auto depth = static_cast<std::int32_t>(params_.depth);
    if (count < stride) table.clear(scratch.query.data(), stride, depth, static_cast<std::int32_t>(stride));
    load_rows(from, queries.begin, params_.query + head, depth, count, scratch.query.data(), stride);
    table.clear(scratch.sums.data(), stride, depth, static_cast<std::int32_t>(stride));

    AttendTask task;
    task.query = scratch.query.data();
    task.depth = depth;
    task.scale = params_.scale;
    task.scores = scratch.scores.data();
    task.stride = stride;
    task.top = scratch.state.data();
    task.total = scratch.state.data() + stride;
    task.sums = scratch.sums.data();
    std::fill_n(task.top, stride, -std::numeric_limits<float>::max());
    std::fill_n(task.total, stride, 0.0f);
    // Blocks are counted from the image's first pixel, wherever map tiles end: that alone decides the order of sums.
    for (std::int64_t key = keys.begin; key < keys.end; key += kKeys) {
        const std::int64_t some = std::min(kKeys, keys.end - key);
        const Rows k = rows_of_run(maps.input, key, params_.key + head, params_.depth, some, scratch.key);
        const Rows v = rows_of_run(maps.input, key, params_.value + head, params_.depth, some, scratch.value);
        task.keys = static_cast<std::int32_t>(some);
        task.key = k.data;
        task.key_stride = k.stride;
        task.value = v.data;
        task.value_stride = v.stride;
        table.attend[vectors](task);
    }
    table.finish_attention(task, static_cast<std::int32_t>(count));
    // Rows of `count` pixels, as store_rows takes them.
    for (std::int32_t d = 1; d < depth && count < stride; ++d)
        std::copy_n(task.sums + d * stride, count, task.sums + d * count);
    store_rows(maps.output, queries.begin, head, depth, count, task.sums);
}

}  // namespace sovs
