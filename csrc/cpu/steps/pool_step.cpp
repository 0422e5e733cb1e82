#include "steps/pool_step.h"

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"
#include "steps/byte_pool_step.h"

namespace sovs {
namespace {

constexpr std::int64_t kPartFloats = 16 * 1024;  // enough work to pay for handing it out
constexpr std::int32_t kChannels = 16;           // pooled at a time, while their rows are in the L1

}  // namespace

PoolStep::PoolStep(const TensorDesc& input, const TensorDesc& output) : input_(input), output_(output) {
    require(output.n == input.n && output.c == input.c, "expected a pooled map of the input's batch and channels");
    require(output.h == input.h / 2 && output.w == input.w / 2 && output.h > 0 && output.w > 0,
            "expected a pooled map of half the input's size");
    const std::int64_t parts = (output.w * output.c + kPartFloats - 1) / kPartFloats;
    parts_ = static_cast<int>(std::min<std::int64_t>(parts, (output.c + kChannels - 1) / kChannels));
}

Range PoolStep::writes(long unit) const {
    return rows_of(output_, unit / output_.h, unit % output_.h, unit % output_.h + 1);
}

Range PoolStep::reads(long unit, std::size_t) const {
    const std::int64_t y = 2 * (unit % output_.h);
    return rows_of(input_, unit / output_.h, y, y + 2);
}

void PoolStep::run(long unit, int part, const StepMaps& maps) const {
    const std::int64_t from = reads(unit, 0).begin, to = writes(unit).begin;
    const std::int64_t channel_end = output_.c * (part + 1) / parts_;
    if (maps.inputs[0].tile == TensorDesc::kNhwc && maps.output.tile == TensorDesc::kNhwc && parts_ == 1) {
        kernels().pool_row(maps.output.at(to), maps.inputs[0].at(from), maps.inputs[0].at(from + input_.w), output_.w,
                           output_.c);
        return;
    }
    const bool in_runs = maps.inputs[0].pixel_stride() == 1 && maps.inputs[0].run(from) >= 2 * input_.w;
    if (in_runs && maps.output.pixel_stride() == 1 && maps.output.run(to) >= output_.w) {
        for (std::int64_t channel = output_.c * part / parts_; channel < channel_end; ++channel) {
            const float* upper = maps.inputs[0].at(from) + channel * maps.inputs[0].channel_stride();
            kernels().pool_row(maps.output.at(to) + channel * maps.output.channel_stride(), upper, upper + input_.w,
                               output_.w, 1);
        }
        return;
    }
    Scratch scratch;
    float* const upper = scratch.take(kChannels * input_.w);
    float* const lower = scratch.take(kChannels * input_.w);
    float* const pooled = scratch.take(kChannels * output_.w);
    for (std::int64_t channel = output_.c * part / parts_; channel < channel_end; channel += kChannels) {
        const auto channels = static_cast<std::int32_t>(std::min<std::int64_t>(kChannels, channel_end - channel));
        load_rows(maps.inputs[0], from, channel, channels, input_.w, upper, input_.w);
        load_rows(maps.inputs[0], from + input_.w, channel, channels, input_.w, lower, input_.w);
        for (std::int32_t c = 0; c < channels; ++c)
            kernels().pool_row(pooled + c * output_.w, upper + c * input_.w, lower + c * input_.w, output_.w, 1);
        store_rows(maps.output, to, channel, channels, output_.w, pooled);
    }
}

MapSize AvgPool2x2::out_size(const std::vector<TensorDesc>& inputs) const { return {inputs[0].h / 2, inputs[0].w / 2}; }

bool AvgPool2x2::takes(const std::vector<DType>& inputs, DType output) const {
    return Operation::takes(inputs, output) || (inputs[0] == output && (output == DType::u8 || output == DType::bf16));
}

std::unique_ptr<const Step> AvgPool2x2::make(const StepPlace& place, int) const {
    if (place.output.in_lines()) return std::make_unique<const BytePoolStep>(place.inputs[0], place.output);
    return std::make_unique<const PoolStep>(place.inputs[0], place.output);
}

}  // namespace sovs
