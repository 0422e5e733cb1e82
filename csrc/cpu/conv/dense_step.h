// A dense convolution of few input channels, such as an encoder's first one, into a pixel-major map.
#pragma once
#include <memory>
#include <vector>

#include "conv/conv_step.h"

namespace sovs {

class DenseStep final : public Step {
public:
    // Whether it computes this convolution well, given a pixel-major output.
    static bool fits(const Weights& weights, const ConvParams& params);

    DenseStep(std::shared_ptr<const Weights> weights, const ConvParams& params, const TensorDesc& input,
              const TensorDesc& output);

    long units() const override { return static_cast<long>(output_.n * output_.h); }
    int parts() const override { return 1; }
    Range writes(long unit) const override;
    Range reads(long unit) const override;
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return "dense"; }

private:
    std::shared_ptr<const Weights> weights_;
    ConvParams params_;
    ConvShape shape_;
    TensorDesc input_, output_;
    std::int64_t pitch_;                  // floats of a padded input row
    std::vector<std::int32_t> offsets_;   // (in_channels * taps,) into the padded rows (in_channels, kernel_h, pitch)
    std::shared_ptr<const AlignedBuffer<float>> matrix_;
};

}  // namespace sovs
