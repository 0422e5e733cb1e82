// LayerNorm over the channels of each pixel.
#pragma once
#include <utility>
#include <vector>

#include "steps/operation.h"

namespace sovs {

struct LayerNormParams {
    std::vector<float> gamma, beta;  // (channels,); none stands for ones and zeros
    float eps = 0.0f;
};

class LayerNormStep final : public Step {
public:
    // Throws InvalidArgument where shapes do not fit.
    LayerNormStep(LayerNormParams params, const TensorDesc& input, const TensorDesc& output);

    long units() const override;
    const char* backend() const override { return "layer norm"; }
    int parts() const override { return 1; }
    Range writes(long unit) const override;
    Range reads(long unit, std::size_t) const override { return writes(unit); }
    void run(long unit, int part, const StepMaps& maps) const override;

private:
    LayerNormParams params_;
    TensorDesc output_;
};

class LayerNorm final : public Operation {
public:
    explicit LayerNorm(LayerNormParams params) : params_(std::move(params)) {}

    const char* name() const override { return "layer_norm"; }
    std::int64_t out_channels(const std::vector<std::int64_t>& inputs) const override;
    std::unique_ptr<const Step> make(const StepPlace& place, int threads) const override;
    bool takes(const std::vector<DType>& inputs, DType output) const override {
        return makes_floats_or_bytes(inputs, output);
    }

private:
    LayerNormParams params_;
};

}  // namespace sovs
