#include "steps/tokens_step.h"

#include "base/aligned.h"
#include "base/error.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

constexpr std::int32_t kChannels = 16;  // of a part

thread_local AlignedBuffer<float> rows;

std::int64_t pixels_of(const TensorDesc& map) { return map.h * map.w; }

int parts_of(const TensorDesc& map) { return static_cast<int>((map.c + kChannels - 1) / kChannels); }

}  // namespace

TokensStep::TokensStep(const TokensParams& params, const TensorDesc& input, const TensorDesc& output)
    : input_(input), output_(output), mean_(params.mean) {
    require(output.n == input.n && output.c == input.c, "expected tokens of the input's batch and channels");
    require(pixels_of(output) >= pixels_of(input), "expected at least as many tokens as pixels");
    const std::int64_t tokens = pixels_of(output);
    require(params.constants.size() == static_cast<std::size_t>(output.c * tokens), "expected constants for each token");
    constants_.resize(params.constants.size());
    for (std::int64_t c = 0; c < output.c; ++c)
        for (std::int64_t t = 0; t < tokens; ++t) constants_[c * tokens + t] = params.constants[t * output.c + c];
}

int TokensStep::parts() const { return parts_of(output_); }

void TokensStep::run(long unit, int part, const StepMaps& maps) const {
    const std::int64_t channel = std::int64_t{part} * kChannels, tokens = pixels_of(output_), pixels = pixels_of(input_);
    const auto channels = static_cast<std::int32_t>(std::min<std::int64_t>(kChannels, output_.c - channel));
    const std::int64_t before = tokens - pixels;
    rows.reserve(static_cast<std::size_t>(kChannels * tokens));
    load_rows(maps.input, unit * pixels, channel, channels, pixels, rows.data() + before, tokens);
    for (std::int32_t c = 0; c < channels; ++c) {
        float* row = rows.data() + c * tokens;
        double mean = 0.0;
        if (mean_) {
            for (std::int64_t t = before; t < tokens; ++t) mean += row[t];
            mean /= static_cast<double>(pixels);
        }
        std::fill_n(row, before, static_cast<float>(mean));
        const float* constants = constants_.data() + (channel + c) * tokens;
        for (std::int64_t t = 0; t < tokens; ++t) row[t] += constants[t];
    }
    store_rows(maps.output, unit * tokens, channel, channels, tokens, rows.data());
}

CropStep::CropStep(CropParams params, const TensorDesc& input, const TensorDesc& output)
    : first_(params.first), input_(input), output_(output) {
    require(output.n == input.n && output.c == input.c, "expected a crop of the input's batch and channels");
    require(first_ >= 0 && first_ + pixels_of(output) <= pixels_of(input), "expected a crop inside the input");
}

int CropStep::parts() const { return parts_of(output_); }

void CropStep::run(long unit, int part, const StepMaps& maps) const {
    const std::int64_t channel = std::int64_t{part} * kChannels, pixels = pixels_of(output_);
    const auto channels = static_cast<std::int32_t>(std::min<std::int64_t>(kChannels, output_.c - channel));
    rows.reserve(static_cast<std::size_t>(kChannels * pixels));
    load_rows(maps.input, unit * pixels_of(input_) + first_, channel, channels, pixels, rows.data(), pixels);
    store_rows(maps.output, unit * pixels, channel, channels, pixels, rows.data());
}

}  // namespace sovs
