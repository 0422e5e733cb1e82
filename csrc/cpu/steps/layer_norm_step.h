// LayerNorm over the channels of each pixel.
#pragma once
#include <vector>

#include "steps/step.h"

namespace sovs {

struct LayerNormParams {
    std::vector<float> gamma, beta;  // (channels,)
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
    Range reads(long unit) const override { return writes(unit); }
    void run(long unit, int part, const StepMaps& maps) const override;

private:
    LayerNormParams params_;
    TensorDesc output_;
};

}  // namespace sovs
