#include "steps/tokens_step.h"

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

constexpr std::int32_t kChannels = 16;  // of a part

}  // namespace

TokensStep::TokensStep(const TokensParams& params, const TensorDesc& input, const TensorDesc& output)
    : input_(input), output_(output), mean_(params.mean) {
    require(output.n == input.n && output.c == input.c, "expected tokens of the input's batch and channels");
    const std::int64_t tokens = output.image_pixels();
    constants_.resize(params.constants.size());
    for (std::int64_t c = 0; c < output.c; ++c)
        for (std::int64_t t = 0; t < tokens; ++t) constants_[c * tokens + t] = params.constants[t * output.c + c];
}

int TokensStep::parts() const { return static_cast<int>((output_.c + kChannels - 1) / kChannels); }

void TokensStep::run(long unit, int part, const StepMaps& maps) const {
    const std::int64_t channel = std::int64_t{part} * kChannels, tokens = output_.image_pixels(),
                       pixels = input_.image_pixels();
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

std::int64_t Tokens::out_channels(const std::vector<std::int64_t>& inputs) const {
    const std::int64_t channels = Operation::out_channels(inputs);
    require(params_.constants.size() == static_cast<std::size_t>(channels * params_.count),
            "expected constants for each token");
    return channels;
}

MapSize Tokens::out_size(const std::vector<TensorDesc>& inputs) const {
    require(params_.count >= inputs[0].image_pixels(), "expected at least as many tokens as pixels");
    return {1, params_.count};
}

std::unique_ptr<const Step> Tokens::make(const StepPlace& place, int) const {
    return std::make_unique<const TokensStep>(params_, place.inputs[0], place.output);
}

}  // namespace sovs
