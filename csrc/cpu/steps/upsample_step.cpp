#include "steps/upsample_step.h"

#include <string>

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

constexpr std::int64_t kPartFloats = 16 * 1024;  // enough work to pay for handing it out
constexpr std::int32_t kChannels = 16;           // doubled at a time, while their rows are in the L1

}  // namespace

UpsampleStep::UpsampleStep(const TensorDesc& input, const TensorDesc& output) : input_(input), output_(output) {
    require(output.n == input.n && output.c == input.c && output.h == 2 * input.h && output.w == 2 * input.w,
            "expected a map of twice the input's size");
    const std::int64_t parts = (2 * output.w * output.c + kPartFloats - 1) / kPartFloats;
    parts_ = static_cast<int>(std::min<std::int64_t>(parts, (output.c + kChannels - 1) / kChannels));
}

Range UpsampleStep::writes(long unit) const {
    const std::int64_t y = 2 * (unit % input_.h);
    return rows_of(output_, unit / input_.h, y, y + 2);
}

Range UpsampleStep::reads(long unit, std::size_t input) const {
    if (input > 0) return writes(unit);  // the residual
    return rows_of(input_, unit / input_.h, unit % input_.h, unit % input_.h + 1);
}

void UpsampleStep::run(long unit, int part, const StepMaps& maps) const {
    const std::int64_t begin = output_.c * part / parts_, end = output_.c * (part + 1) / parts_;
    if (maps.inputs[0].tile == TensorDesc::kNhwc && maps.output.tile == TensorDesc::kNhwc)
        run_pixels(unit, begin, end, maps);
    else
        run_rows(unit, begin, end, maps);
}

void UpsampleStep::run_pixels(long unit, std::int64_t begin, std::int64_t end, const StepMaps& maps) const {
    const Map &residual = maps.inputs[1], &out = maps.output;
    const std::int64_t from = reads(unit, 0).begin, to = writes(unit).begin;
    // A pixel's channels are a run, which goes to two pixels side by side.
    StoreTask store;
    store.sums_stride = 0;
    store.channels = 2;
    store.pixels = static_cast<std::int32_t>(end - begin);
    store.epilogue = {nullptr, nullptr, out.pixel_stride(), 1, Activation::none};
    for (std::int64_t row = to; row < to + 2 * output_.w; row += output_.w)
        for (std::int64_t x = 0; x < input_.w; ++x) {
            const std::int64_t pixel = row + 2 * x;
            store.sums = maps.inputs[0].at(from + x) + begin;
            store.epilogue.out = out.at(pixel) + begin;
            store.epilogue.residual = residual.data == nullptr ? nullptr : residual.at(pixel) + begin;
            kernels().store(store);
        }
}

void UpsampleStep::run_rows(long unit, std::int64_t begin, std::int64_t end, const StepMaps& maps) const {
    const Map& input = maps.inputs[0];
    const std::int64_t from = reads(unit, 0).begin, to = writes(unit).begin, w = input_.w;
    const bool in_runs = input.pixel_stride() == 1 && input.run(from) >= w;
    Scratch scratch;
    float* const loaded = scratch.take(kChannels * w);
    float* const doubled = scratch.take(kChannels * output_.w);
    for (std::int64_t channel = begin; channel < end; channel += kChannels) {
        const auto channels = static_cast<std::int32_t>(std::min<std::int64_t>(kChannels, end - channel));
        if (!in_runs) load_rows(input, from, channel, channels, w, loaded, w);
        for (std::int32_t c = 0; c < channels; ++c) {
            const float* const row = in_runs ? input.at(from) + (channel + c) * input.channel_stride() : loaded + c * w;
            float* const twice = doubled + c * output_.w;
            for (std::int64_t x = 0; x < w; ++x) twice[2 * x] = twice[2 * x + 1] = row[x];
        }
        for (std::int64_t pixel = to; pixel < to + 2 * output_.w; pixel += output_.w)
            store_rows(maps.output, pixel, channel, channels, output_.w, doubled, maps.inputs[1]);
    }
}

std::int64_t Upsample2x::out_channels(const std::vector<std::int64_t>& inputs) const {
    require_inputs(inputs.size(), 1, 2);
    if (residual_ && inputs[1] != inputs[0])
        throw InvalidArgument("expected a residual with " + std::to_string(inputs[0]) + " channels, got " +
                              std::to_string(inputs[1]));
    return inputs[0];
}

MapSize Upsample2x::out_size(const std::vector<TensorDesc>& inputs) const {
    const MapSize made{2 * inputs[0].h, 2 * inputs[0].w};
    if (residual_) require(inputs[1].h == made.h && inputs[1].w == made.w, "expected a residual of the output's size");
    return made;
}

std::unique_ptr<const Step> Upsample2x::make(const StepPlace& place, int) const {
    return std::make_unique<const UpsampleStep>(place.inputs[0], place.output);
}

}  // namespace sovs
