#include "conv/conv2d.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "weights/conv_shape.h"

namespace sovs {

std::int64_t Conv2d::out_channels(const std::vector<std::int64_t>& inputs) const {
    const std::size_t count = residual_ ? 2 : 1;
    require_inputs(inputs.size(), count, count);
    const WeightSizes& sizes = weights_->sizes();
    if (inputs[0] != sizes.in_channels * sizes.groups)
        throw InvalidArgument("expected weights that take " + std::to_string(inputs[0]) + " channels, got " +
                              std::to_string(sizes.in_channels * sizes.groups));
    if (residual_ && inputs[1] != sizes.out_channels)
        throw InvalidArgument("expected a residual with " + std::to_string(sizes.out_channels) + " channels, got " +
                              std::to_string(inputs[1]));
    return sizes.out_channels;
}

MapSize Conv2d::out_size(const std::vector<TensorDesc>& inputs) const {
    const WeightSizes& w = weights_->sizes();
    const MapSize made{conv_out_size(inputs[0].h, w.kernel_h, params_.stride_h, params_.pad_h, params_.dilation_h),
                       conv_out_size(inputs[0].w, w.kernel_w, params_.stride_w, params_.pad_w, params_.dilation_w)};
    if (residual_)
        require(inputs[1].n == inputs[0].n && inputs[1].h == made.h && inputs[1].w == made.w,
                "expected a residual of the output's size");
    return made;
}

// s8 weights meet maps of u8, and make bytes or floats; float32 ones meet maps of float32 or of bf16. What is added is of the
// output's type.
bool Conv2d::takes(const std::vector<DType>& inputs, DType output) const {
    if (weights_->dtype() == DType::s8)
        return inputs[0] == DType::u8 && (output == DType::u8 || output == DType::f32) &&
               (!residual_ || inputs[1] == output);
    return (output == DType::f32 || output == DType::bf16) &&
           std::all_of(inputs.begin(), inputs.end(), [&](DType in) { return in == output; });
}

ConvCase Conv2d::case_of(const StepPlace& place) const {
    return {.weights = weights_,
            .params = params_,
            .input = place.inputs[0],
            .output = place.output,
            .residual = residual_,
            .free_maps = place.free_maps,
            .alone = place.alone,
            .residual_quant = residual_ ? place.inputs[1].quant : Quant{}};
}

std::optional<Layouts> Conv2d::layouts(const StepPlace& place) const {
    const ConvCase conv = case_of(place);
    return backend_for(conv).layouts(conv);
}

std::unique_ptr<const Step> Conv2d::make(const StepPlace& place, int threads) const {
    const ConvCase conv = case_of(place);
    return backend_for(conv).make(conv, tuning_, threads);
}

}  // namespace sovs
