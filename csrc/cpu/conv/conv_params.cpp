#include "conv/conv_params.h"

#include "base/error.h"

namespace sovs {
namespace {

ConvShape shape_of(const Weights& weights, const ConvParams& p) {
    const WeightSizes& w = weights.sizes();
    require(p.stride_h > 0 && p.stride_w > 0, "expected strides of at least 1");
    return {w.out_channels, w.in_channels, w.kernel_h, w.kernel_w,   w.groups,    p.stride_h,
            p.stride_w,     p.pad_h,       p.pad_w,    p.dilation_h, p.dilation_w};
}

}  // namespace

TensorDesc output_of(const Weights& weights, const ConvParams& params, const TensorDesc& input, bool nhwc) {
    const ConvShape shape = shape_of(weights, params);
    const std::int64_t h = shape.out_h(input.h), w = shape.out_w(input.w);
    return {input.n, shape.out_channels, h, w, nhwc ? TensorDesc::kNhwc : TensorDesc::nchw(h, w)};
}

ConvShape checked_shape(const Weights& weights, const ConvParams& params, const TensorDesc& input,
                        const TensorDesc& output) {
    const ConvShape shape = shape_of(weights, params);
    require(shape.dilation_h > 0 && shape.dilation_w > 0, "expected dilations of at least 1");
    require(shape.pad_h >= 0 && shape.pad_w >= 0, "expected paddings of at least 0");
    require(input.c == shape.in_channels * shape.groups, "expected an input with the weight's channels");
    require(output.c == shape.out_channels, "expected an output with the weight's channels");
    require(output.n == input.n, "expected input and output of the same batch");
    require(shape.out_h(input.h) == output.h && shape.out_w(input.w) == output.w && output.h > 0 && output.w > 0,
            "expected an output of the size that the convolution gives");
    return shape;
}

}  // namespace sovs
