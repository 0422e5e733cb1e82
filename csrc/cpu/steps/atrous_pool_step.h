// Average pooling over 2x2 pixels `dilation` apart with stride 1: what is left of the pooling in CLIP's ResNets where a
// stage keeps its resolution. A neighbour beyond the last row or column is the pixel itself.
#pragma once
#include "steps/operation.h"

namespace sovs {

class AtrousPoolStep final : public Step {
public:
    // Throws InvalidArgument where the output is not of the input's size.
    AtrousPoolStep(std::int64_t dilation, const TensorDesc& input, const TensorDesc& output);

    long units() const override { return static_cast<long>(output_.n * output_.h); }
    int parts() const override { return parts_; }
    Range writes(long unit) const override;
    Range reads(long unit, std::size_t input) const override;
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return "pool"; }

private:
    // One output row of `channels` floats a pixel.
    void pool_row(float* out, const float* upper, const float* lower, std::int64_t channels) const;

    std::int64_t dilation_;
    TensorDesc input_, output_;
    int parts_;  // of the channels
};

class AtrousPool2x2 final : public Operation {
public:
    explicit AtrousPool2x2(std::int64_t dilation) : dilation_(dilation) {}

    const char* name() const override { return "atrous_pool2x2"; }
    std::unique_ptr<const Step> make(const StepPlace& place, int threads) const override;

private:
    std::int64_t dilation_;
};

}  // namespace sovs
