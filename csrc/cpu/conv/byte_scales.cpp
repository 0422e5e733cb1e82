#include "conv/byte_scales.h"

#include <algorithm>
#include <cmath>

#include "kernels/byte_table.h"

namespace sovs {

ByteScales::ByteScales(const ConvCase& conv, const std::vector<std::int64_t>& sums, std::int64_t padded)
    : start_(static_cast<std::size_t>(padded), 0),
      scale_(static_cast<std::size_t>(padded), 0.0f),
      offset_(static_cast<std::size_t>(padded), 0.0f) {
    const Quant &in = conv.input.quant, &out = conv.output.quant;
    const std::vector<float>& of_weights = conv.weights->scales();
    const double inverse = 1.0 / static_cast<double>(out.scale);
    double shift = out.zero_point;
    if (conv.residual) {
        residual_scale_ = static_cast<float>(conv.residual_quant.scale * inverse);
        shift -= conv.residual_quant.zero_point * (conv.residual_quant.scale * inverse);
    }
    const std::int64_t pixels_less = byte_kernels().pixels_less;
    for (std::int64_t o = 0; o < conv.output.c; ++o) {
        // Sums wrap around where they must, and come out right.
        start_[o] = static_cast<std::int32_t>((pixels_less - in.zero_point) * sums[o]);
        scale_[o] = static_cast<float>(static_cast<double>(of_weights[o]) * in.scale * inverse);
        offset_[o] = static_cast<float>(conv.weights->bias()[o] * inverse + shift);
    }
    least_ = static_cast<std::uint8_t>(conv.params.activation == Activation::none ? 0 : out.zero_point);
    if (conv.params.activation == Activation::relu6)
        most_ = static_cast<float>(std::min(255.0, std::nearbyint(6.0 * inverse) + out.zero_point));
}

ByteEpilogue ByteScales::epilogue(const StepMaps& maps, std::int64_t pixel, std::int64_t lane) const {
    const Map& added = maps.inputs[1];
    return {scale_.data(),
            offset_.data(),
            added.data == nullptr ? nullptr : added.at<std::uint8_t>(pixel) + lane,
            residual_scale_,
            most_,
            least_,
            maps.output.at<std::uint8_t>(pixel) + lane,
            maps.output.channel_stride()};
}

bool byte_activation(Activation activation) {
    return activation <= Activation::relu || activation == Activation::relu6;
}

}  // namespace sovs
