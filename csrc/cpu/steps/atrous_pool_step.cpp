#include "steps/atrous_pool_step.h"

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

constexpr std::int64_t kPartFloats = 16 * 1024;  // enough work to pay for handing it out
constexpr std::int32_t kChannels = 16;           // pooled at a time, while their rows are in the L1

}  // namespace

AtrousPoolStep::AtrousPoolStep(std::int64_t dilation, const TensorDesc& input, const TensorDesc& output)
    : dilation_(dilation), input_(input), output_(output) {
    require(dilation_ > 0, "expected a dilation of at least 1");
    require(output.same_shape(input), "expected a pooled map of the input's shape");
    const std::int64_t parts = (output.w * output.c + kPartFloats - 1) / kPartFloats;
    parts_ = static_cast<int>(std::min<std::int64_t>(parts, (output.c + kChannels - 1) / kChannels));
}

Range AtrousPoolStep::writes(long unit) const {
    return rows_of(output_, unit / output_.h, unit % output_.h, unit % output_.h + 1);
}

Range AtrousPoolStep::reads(long unit, std::size_t) const {
    const std::int64_t y = unit % output_.h, lower = y + dilation_ < input_.h ? y + dilation_ : y;
    return rows_of(input_, unit / output_.h, y, lower + 1);
}

void AtrousPoolStep::run(long unit, int part, const StepMaps& maps) const {
    const std::int64_t w = input_.w;
    const Range read = reads(unit, 0);
    const std::int64_t from = read.begin, below = read.end - w, to = writes(unit).begin;
    const std::int64_t channel_end = output_.c * (part + 1) / parts_;
    if (maps.inputs[0].tile == TensorDesc::kNhwc && maps.output.tile == TensorDesc::kNhwc && parts_ == 1) {
        pool_row(maps.output.at(to), maps.inputs[0].at(from), maps.inputs[0].at(below), output_.c);
        return;
    }
    const bool in_runs =
        maps.inputs[0].pixel_stride() == 1 && maps.inputs[0].run(from) >= w && maps.inputs[0].run(below) >= w;
    if (in_runs && maps.output.pixel_stride() == 1 && maps.output.run(to) >= w) {
        for (std::int64_t channel = output_.c * part / parts_; channel < channel_end; ++channel) {
            const std::int64_t place = channel * maps.inputs[0].channel_stride();
            pool_row(maps.output.at(to) + channel * maps.output.channel_stride(), maps.inputs[0].at(from) + place,
                     maps.inputs[0].at(below) + place, 1);
        }
        return;
    }
    Scratch scratch;
    float* const upper = scratch.take(kChannels * w);
    float* const lower = scratch.take(kChannels * w);
    float* const pooled = scratch.take(kChannels * w);
    for (std::int64_t channel = output_.c * part / parts_; channel < channel_end; channel += kChannels) {
        const auto channels = static_cast<std::int32_t>(std::min<std::int64_t>(kChannels, channel_end - channel));
        load_rows(maps.inputs[0], from, channel, channels, w, upper, w);
        load_rows(maps.inputs[0], below, channel, channels, w, lower, w);
        for (std::int32_t c = 0; c < channels; ++c) pool_row(pooled + c * w, upper + c * w, lower + c * w, 1);
        store_rows(maps.output, to, channel, channels, w, pooled);
    }
}

void AtrousPoolStep::pool_row(float* out, const float* upper, const float* lower, std::int64_t channels) const {
    const std::int64_t alone = std::min(dilation_, input_.w) * channels, paired = input_.w * channels - alone;
    kernels().atrous_pool_row(out, upper, lower, dilation_ * channels, paired);
    kernels().atrous_pool_row(out + paired, upper + paired, lower + paired, 0, alone);
}

std::unique_ptr<const Step> AtrousPool2x2::make(const StepPlace& place, int) const {
    return std::make_unique<const AtrousPoolStep>(dilation_, place.inputs[0], place.output);
}

}  // namespace sovs
