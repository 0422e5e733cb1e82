#include "conv/bf16_sums.h"

#include <algorithm>

#include "kernels/bf16_table.h"

namespace sovs {

Bf16Sums::Bf16Sums(const ConvCase& conv, std::int64_t padded)
    : bias_(static_cast<std::size_t>(padded), 0.0f), channels_(static_cast<std::int32_t>(conv.output.c)) {
    std::copy_n(conv.weights->bias(), conv.output.c, bias_.begin());
    if (conv.params.activation != Activation::none) least_ = 0.0f;
    if (conv.params.activation == Activation::relu6) most_ = 6.0f;
}

Bf16Epilogue Bf16Sums::epilogue(const StepMaps& maps, std::int64_t pixel, std::int64_t lane) const {
    const Map& added = maps.inputs[1];
    return {added.data == nullptr ? nullptr : added.at<std::uint16_t>(pixel) + lane, least_, most_,
            maps.output.at<std::uint16_t>(pixel) + lane, maps.output.channel_stride()};
}

bool bf16_case(const ConvCase& conv) {
    const Activation activation = conv.params.activation;
    return bf16_kernels() != nullptr && conv.weights->dtype() == DType::f32 && conv.input.dtype == DType::bf16 &&
           (activation <= Activation::relu || activation == Activation::relu6);
}

}  // namespace sovs
