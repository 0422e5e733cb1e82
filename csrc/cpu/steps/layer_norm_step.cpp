#include "steps/layer_norm_step.h"

#include "base/aligned.h"
#include "base/error.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

constexpr std::int64_t kPixels = 16;  // of a unit: one or more whole vectors

thread_local AlignedBuffer<float> rows;

}  // namespace

LayerNormStep::LayerNormStep(LayerNormParams params, const TensorDesc& input, const TensorDesc& output)
    : params_(std::move(params)), output_(output) {
    require(input.same_shape(output), "expected a normalised map of the input's shape");
    require(params_.gamma.size() == static_cast<std::size_t>(output.c), "expected gamma and beta for each channel");
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
    const auto one_run = [&](const Map& map) { return map.tile != TensorDesc::kNhwc && map.run(range.begin) >= pixels; };
    const bool in_place = one_run(maps.input) && one_run(maps.output);
    if (in_place) {
        task.source = maps.input.at(range.begin);
        task.source_stride = maps.input.channel_stride();
        task.out = maps.output.at(range.begin);
        task.out_stride = maps.output.channel_stride();
        kernels().layer_norm(task);
        return;
    }
    rows.reserve(static_cast<std::size_t>(channels * pixels));
    load_rows(maps.input, range.begin, 0, channels, pixels, rows.data(), pixels);
    task.source = task.out = rows.data();
    task.source_stride = task.out_stride = pixels;
    kernels().layer_norm(task);
    store_rows(maps.output, range.begin, 0, channels, pixels, rows.data());
}

}  // namespace sovs
