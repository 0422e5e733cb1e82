// A dense 3x3 convolution by Winograd's F(2x2, 3x3): 4 products an output instead of 9, between pixel-major maps.
#pragma once
#include <memory>
#include <vector>

#include "conv/conv_step.h"

namespace sovs {

class WinogradStep final : public Step {
public:
    // Whether it computes this convolution, given pixel-major maps.
    static bool fits(const Weights& weights, const ConvParams& params);

    WinogradStep(std::shared_ptr<const Weights> weights, const ConvParams& params, const TensorDesc& input,
                 const TensorDesc& output);

    long units() const override { return static_cast<long>(output_.n * rows_); }
    int parts() const override { return 1; }
    Range writes(long unit) const override;
    Range reads(long unit) const override;
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return "winograd"; }

private:
    std::shared_ptr<const Weights> weights_;
    bool relu_;
    TensorDesc input_, output_;
    std::int64_t rows_;    // of 2x2 pixels in an image
    std::int64_t padded_;  // output channels in whole pairs of vectors
    std::shared_ptr<const AlignedBuffer<float>> points_;
    std::vector<std::int32_t> offsets_;  // of a pixel's channels, which lie side by side
};

}  // namespace sovs
