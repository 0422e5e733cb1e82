// Average pooling over 2x2 pixels with stride 2, the only pooling inside CLIP's ResNets.
#pragma once
#include "step.h"
#include "tiling.h"

namespace sovs {

class PoolStep final : public Step {
public:
    // Throws InvalidArgument where the output is not the input's size halved and rounded down.
    PoolStep(const TensorDesc& input, const TensorDesc& output);

    long units() const override;
    void run_unit(long unit, const float* input, const float* residual, float* output) const override;

private:
    TensorDesc input_, output_;
    long rows_a_unit_;  // output rows of all images and, in NCHW, channels
};

}  // namespace sovs
