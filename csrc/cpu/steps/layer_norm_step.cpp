#include "steps/layer_norm_step.h"

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

constexpr std::int64_t kPixels = 16;  // of a unit: one or more whole vectors, and a part of a line of bytes

}  // namespace

LayerNormStep::LayerNormStep(LayerNormParams params, const TensorDesc& input, const TensorDesc& output)
    : params_(std::move(params)), output_(output) {
    require(input.same_shape(output), "expected a normalised map of the input's shape");
    const auto channels = static_cast<std::size_t>(output.c);
    if (params_.gamma.empty()) params_.gamma.assign(channels, 1.0f);
    if (params_.beta.empty()) params_.beta.assign(channels, 0.0f);
}

long LayerNormStep::units() const { return static_cast<long>((output_.pixels() + kPixels - 1) / kPixels); }

Range LayerNormStep::writes(long unit) const {
    return {unit * kPixels, std::min((unit + 1) * kPixels, output_.pixels())};
}

void LayerNormStep::run(long unit, int, const StepMaps& maps) const {
    const Range range = writes(unit);
    const std::int64_t pixels = range.end - range.begin;
    const auto channels = static_cast<std::int32_t>(output_.c);
    NormTask task;
    task.channels = channels;
    task.pixels = static_cast<std::int32_t>(pixels);
    task.gamma = params_.gamma.data();
    task.beta = params_.beta.data();
    task.eps = params_.eps;
    const auto one_run = [&](const Map& map) {
        return map.tile != TensorDesc::kNhwc && map.run(range.begin) >= pixels;
    };
    if (output_.dtype == DType::f32 && one_run(maps.inputs[0]) && one_run(maps.output)) {
        task.source = maps.inputs[0].at(range.begin);
        task.source_stride = maps.inputs[0].channel_stride();
        task.out = maps.output.at(range.begin);
        task.out_stride = maps.output.channel_stride();
        kernels().layer_norm(task);
        return;
    }
    Scratch scratch;
    float* const rows = scratch.take(channels * pixels);
    load_rows(maps.inputs[0], range.begin, 0, channels, pixels, rows, pixels);
    task.source = rows;
    task.source_stride = pixels;
    if (output_.dtype == DType::u8) {
        task.out = nullptr;
        task.bytes = maps.output.at<std::uint8_t>(range.begin);
        task.out_stride = maps.output.channel_stride();
        task.inverse_scale = 1.0f / output_.quant.scale;
        task.zero_point = static_cast<float>(output_.quant.zero_point);
        kernels().layer_norm(task);
        return;
    }
    task.out = rows;
    task.out_stride = pixels;
    kernels().layer_norm(task);
    store_rows(maps.output, range.begin, 0, channels, pixels, rows);
}

std::int64_t LayerNorm::out_channels(const std::vector<std::int64_t>& inputs) const {
    const std::int64_t channels = Operation::out_channels(inputs);
    for (const std::vector<float>* vector : {&params_.gamma, &params_.beta})
        require(vector->empty() || vector->size() == static_cast<std::size_t>(channels),
                "expected gamma and beta for each channel");
    return channels;
}

std::unique_ptr<const Step> LayerNorm::make(const StepPlace& place, int) const {
    return std::make_unique<const LayerNormStep>(params_, place.inputs[0], place.output);
}

}  // namespace sovs
