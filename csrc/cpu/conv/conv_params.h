// How a convolution walks over its input, and the shape that this gives it with its weights.
#pragma once
#include "kernels/kernel_table.h"
#include "maps/tensor.h"
#include "weights/weights.h"

namespace sovs {

struct ConvParams {
    std::int64_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    Activation activation;  // after the residual is added
};

// The convolution's sizes, found to fit its maps; throws InvalidArgument where they do not.
ConvShape checked_shape(const Weights& weights, const ConvParams& params, const TensorDesc& input,
                        const TensorDesc& output);

// What the convolution of a map gives, as NHWC or NCHW: not the input's own tile, since one pixel is both.
TensorDesc output_of(const Weights& weights, const ConvParams& params, const TensorDesc& input, bool nhwc);

}  // namespace sovs
