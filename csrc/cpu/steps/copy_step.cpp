#include "steps/copy_step.h"

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

constexpr std::int64_t kPixels = 256;
constexpr std::int32_t kChannels = 16;

}  // namespace

CopyStep::CopyStep(const TensorDesc& input, const TensorDesc& output)
    : output_(output), pixels_a_unit_(input.pixel_major() || input.tile > kPixels ? kPixels : input.tile) {
    require(input.same_shape(output), "expected a copy of the input's shape");
}

long CopyStep::units() const { return static_cast<long>((output_.pixels() + pixels_a_unit_ - 1) / pixels_a_unit_); }

Range CopyStep::writes(long unit) const {
    return {unit * pixels_a_unit_, std::min<std::int64_t>((unit + 1) * pixels_a_unit_, output_.pixels())};
}

void CopyStep::run(long unit, int, const StepMaps& maps) const {
    const Range range = writes(unit);
    const auto channels = static_cast<std::int32_t>(output_.c);
    if (maps.output.pixel_stride() == 1) {
        std::int64_t count = 0;
        for (std::int64_t pixel = range.begin; pixel < range.end; pixel += count) {
            count = std::min(range.end - pixel, maps.output.run(pixel));
            load_rows(maps.inputs[0], pixel, 0, channels, count, maps.output.at(pixel), maps.output.channel_stride());
        }
        return;
    }
    const std::int64_t pixels = range.end - range.begin;
    Scratch scratch;
    float* const rows = scratch.take(kChannels * pixels);
    for (std::int32_t channel = 0; channel < channels; channel += kChannels) {
        const std::int32_t some = std::min(kChannels, channels - channel);
        load_rows(maps.inputs[0], range.begin, channel, some, pixels, rows, pixels);
        store_rows(maps.output, range.begin, channel, some, pixels, rows);
    }
}

std::unique_ptr<const Step> Copy::make(const StepPlace& place, int) const {
    return std::make_unique<const CopyStep>(place.inputs[0], place.output);
}

}  // namespace sovs
