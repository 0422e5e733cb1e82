#include "steps/tokens_step.h"

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

constexpr std::int32_t kChannels = 16;  // of a part

std::int64_t pixels_of(const TensorDesc& map) { return map.h * map.w; }

int parts_of(const TensorDesc& map) { return static_cast<int>((map.c + kChannels - 1) / kChannels); }

}  // namespace

TokensStep::TokensStep(const TokensParams& params, const TensorDesc& input, const TensorDesc& output)
    : input_(input), output_(output), mean_(params.mean) {
    require(output.n == input.n && output.c == input.c, "expected tokens of the input's batch and channels");
    const std::int64_t tokens = pixels_of(output);
    constants_.resize(params.constants.size());
    for (std::int64_t c = 0; c < output.c; ++c)
        for (std::int64_t t = 0; t < tokens; ++t) constants_[c * tokens + t] = params.constants[t * output.c + c];
}

int TokensStep::parts() const { return parts_of(output_); }

void TokensStep::run(long unit, int part, const StepMaps& maps) const {
    const std::int64_t channel = std::int64_t{part} * kChannels, tokens = pixels_of(output_),
                       pixels = pixels_of(input_);
    const auto channels = static_cast<std::int32_t>(std::min<std::int64_t>(kChannels, output_.c - channel));
    const std::int64_t before = tokens - pixels;
    Scratch scratch;
    float* const rows = scratch.take(kChannels * tokens);
    load_rows(maps.inputs[0], unit * pixels, channel, channels, pixels, rows + before, tokens);
    for (std::int32_t c = 0; c < channels; ++c) {
        float* row = rows + c * tokens;
        double mean = 0.0;
        if (mean_) {
            for (std::int64_t t = before; t < tokens; ++t) mean += row[t];
            mean /= static_cast<double>(pixels);
        }
        std::fill_n(row, before, static_cast<float>(mean));
        const float* constants = constants_.data() + (channel + c) * tokens;
        for (std::int64_t t = 0; t < tokens; ++t) row[t] += constants[t];
    }
    store_rows(maps.output, unit * tokens, channel, channels, tokens, rows);
}

CropStep::CropStep(std::int64_t first, const TensorDesc& input, const TensorDesc& output)
    : first_(first), input_(input), output_(output) {
    require(output.n == input.n && output.c == input.c, "expected a crop of the input's batch and channels");
}

int CropStep::parts() const { return parts_of(output_); }

void CropStep::run(long unit, int part, const StepMaps& maps) const {
    const std::int64_t channel = std::int64_t{part} * kChannels, pixels = pixels_of(output_);
    const auto channels = static_cast<std::int32_t>(std::min<std::int64_t>(kChannels, output_.c - channel));
    Scratch scratch;
    float* const rows = scratch.take(kChannels * pixels);
    load_rows(maps.inputs[0], unit * pixels_of(input_) + first_, channel, channels, pixels, rows, pixels);
    store_rows(maps.output, unit * pixels, channel, channels, pixels, rows);
}

std::int64_t Tokens::out_channels(const std::vector<std::int64_t>& inputs) const {
    require_inputs(inputs.size(), 1, 1);
    require(params_.constants.size() == static_cast<std::size_t>(inputs[0] * params_.count),
            "expected constants for each token");
    return inputs[0];
}

MapSize Tokens::out_size(const std::vector<TensorDesc>& inputs) const {
    require(params_.count >= pixels_of(inputs[0]), "expected at least as many tokens as pixels");
    return {1, params_.count};
}

std::unique_ptr<const Step> Tokens::make(const StepPlace& place, int) const {
    return std::make_unique<const TokensStep>(params_, place.inputs[0], place.output);
}

std::int64_t Crop::out_channels(const std::vector<std::int64_t>& inputs) const {
    require_inputs(inputs.size(), 1, 1);
    return inputs[0];
}

MapSize Crop::out_size(const std::vector<TensorDesc>& inputs) const {
    require(params_.first >= 0 && params_.first + params_.size.h * params_.size.w <= pixels_of(inputs[0]),
            "expected a crop inside the input");
    return params_.size;
}

std::unique_ptr<const Step> Crop::make(const StepPlace& place, int) const {
    return std::make_unique<const CropStep>(params_.first, place.inputs[0], place.output);
}

}  // namespace sovs
