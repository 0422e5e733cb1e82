// A vision transformer's tokens: class tokens, then the pixels of a map, plus constants such as position embeddings.
#pragma once
#include <utility>
#include <vector>

#include "steps/operation.h"

namespace sovs {

struct TokensParams {
    std::int64_t count;            // tokens: pixels of an output image
    std::vector<float> constants;  // (count, channels)
    bool mean;                     // whether class tokens are the mean of the input's pixels, else 0
};

// With k = output pixels - input pixels class tokens, token t of each image is constants[t], plus the input's pixel t - k
// for t >= k, or plus the mean of the pixels (or 0) for t < k.
class TokensStep final : public Step {
public:
    // Throws InvalidArgument where shapes do not fit.
    TokensStep(const TokensParams& params, const TensorDesc& input, const TensorDesc& output);

    long units() const override { return static_cast<long>(output_.n); }
    const char* backend() const override { return "tokens"; }
    int parts() const override;
    Range writes(long unit) const override { return rows_of(output_, unit, 0, output_.h); }
    Range reads(long unit, std::size_t) const override { return rows_of(input_, unit, 0, input_.h); }
    void run(long unit, int part, const StepMaps& maps) const override;

private:
    TensorDesc input_, output_;
    std::vector<float> constants_;  // (channels, output pixels)
    bool mean_;
};

class Tokens final : public Operation {
public:
    explicit Tokens(TokensParams params) : params_(std::move(params)) {}

    const char* name() const override { return "tokens"; }
    std::int64_t out_channels(const std::vector<std::int64_t>& inputs) const override;
    MapSize out_size(const std::vector<TensorDesc>& inputs) const override;
    std::unique_ptr<const Step> make(const StepPlace& place, int threads) const override;

private:
    TokensParams params_;
};

}  // namespace sovs
