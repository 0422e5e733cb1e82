#include "steps/crop_step.h"

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

constexpr std::int32_t kChannels = 16;  // of a part

}  // namespace

CropStep::CropStep(std::int64_t first, const TensorDesc& input, const TensorDesc& output)
    : first_(first), input_(input), output_(output) {
    require(output.n == input.n && output.c == input.c, "expected a crop of the input's batch and channels");
}

int CropStep::parts() const { return static_cast<int>((output_.c + kChannels - 1) / kChannels); }

void CropStep::run(long unit, int part, const StepMaps& maps) const {
    const std::int64_t channel = std::int64_t{part} * kChannels, pixels = output_.image_pixels();
    const auto channels = static_cast<std::int32_t>(std::min<std::int64_t>(kChannels, output_.c - channel));
    Scratch scratch;
    float* const rows = scratch.take(kChannels * pixels);
    load_rows(maps.inputs[0], unit * input_.image_pixels() + first_, channel, channels, pixels, rows, pixels);
    store_rows(maps.output, unit * pixels, channel, channels, pixels, rows);
}

MapSize Crop::out_size(const std::vector<TensorDesc>& inputs) const {
    require(params_.first >= 0 && params_.first + params_.size.h * params_.size.w <= inputs[0].image_pixels(),
            "expected a crop inside the input");
    return params_.size;
}

std::unique_ptr<const Step> Crop::make(const StepPlace& place, int) const {
    return std::make_unique<const CropStep>(params_.first, place.inputs[0], place.output);
}

}  // namespace sovs
