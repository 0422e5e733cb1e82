// Average pooling over 2x2 pixels with stride 2, the only pooling inside CLIP's ResNets.
#pragma once
#include "steps/operation.h"

namespace sovs {

class PoolStep final : public Step {
public:
    // Throws InvalidArgument where the output is not the input's size halved and rounded down.
    PoolStep(const TensorDesc& input, const TensorDesc& output);

    long units() const override { return static_cast<long>(output_.n * output_.h); }
    int parts() const override { return parts_; }
    Range writes(long unit) const override;
    Range reads(long unit, std::size_t input) const override;
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return "pool"; }

private:
    TensorDesc input_, output_;
    int parts_;  // of the channels
};

class AvgPool2x2 final : public Operation {
public:
    const char* name() const override { return "avg_pool2x2"; }
    MapSize out_size(const std::vector<TensorDesc>& inputs) const override;
    bool takes(const std::vector<DType>& inputs, DType output) const override;
    std::unique_ptr<const Step> make(const StepPlace& place, int threads) const override;
};

}  // namespace sovs
