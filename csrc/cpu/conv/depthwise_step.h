// A depthwise convolution of stride 1: each channel's rows in a padded plane, over which every tap is an offset.
#pragma once
#include <memory>
#include <vector>

#include "conv/conv_step.h"

namespace sovs {

class DepthwiseStep final : public Step {
public:
    // Whether it computes this convolution.
    static bool fits(const Weights& weights, const ConvParams& params);

    DepthwiseStep(std::shared_ptr<const Weights> weights, const ConvParams& params, const TensorDesc& input,
                  const TensorDesc& output);

    long units() const override { return static_cast<long>(output_.n * bands_); }
    const char* backend() const override { return "depthwise"; }
    int parts() const override;
    Range writes(long unit) const override;
    Range reads(long unit) const override;
    void run(long unit, int part, const StepMaps& maps) const override;

private:
    std::shared_ptr<const Weights> weights_;
    std::shared_ptr<const Weights::Packed> packed_;
    ConvParams params_;
    TensorDesc input_, output_;
    std::int64_t rows_, bands_;  // output rows of a unit; units of an image
    std::int64_t pitch_;         // floats of a padded input row
    std::int64_t reach_;         // rows and floats that the taps read past an output's own
    std::vector<std::int32_t> offsets_;  // of each stored weight, into the padded rows
};

}  // namespace sovs
