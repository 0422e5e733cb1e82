#include "conv/byte_scales.h"

#include <algorithm>
#include <cmath>

#include "kernels/byte_table.h"

namespace sovs {

ByteScales::ByteScales(const ConvCase& conv, const std::vector<std::int64_t>& sums, std::int64_t padded)
    : start_(static_cast<std::size_t>(padded), 0),
      scale_(static_cast<std::size_t>(padded), 0.0f),
      offset_(static_cast<std::size_t>(padded), 0.0f),
      makes_floats_(conv.output.dtype == DType::f32) {
    const Quant &in = conv.input.quant, &out = conv.output.quant;
    const Activation activation = conv.params.activation;
    const bool is_maximum = activation <= Activation::relu || activation == Activation::relu6;
    if (makes_floats_ || !is_maximum) activation_ = activation;
    // Where the activation is more than a maximum of bytes, scales give what it is applied to, not bytes.
    const bool to_bytes = !makes_floats_ && is_maximum;
    const std::vector<float>& of_weights = conv.weights->scales();
    const double inverse = 1.0 / static_cast<double>(out.scale), unit = to_bytes ? inverse : 1.0;
    double shift = to_bytes ? out.zero_point : 0;
    if (conv.residual && !makes_floats_) {
        residual_scale_ = static_cast<float>(conv.residual_quant.scale * unit);
        shift -= conv.residual_quant.zero_point * (conv.residual_quant.scale * unit);
    }
    const std::int64_t pixels_less = byte_kernels().pixels_less;
    for (std::int64_t o = 0; o < conv.output.c; ++o) {
        // Sums wrap around where they must, and come out right.
        start_[o] = static_cast<std::int32_t>((pixels_less - in.zero_point) * sums[o]);
        scale_[o] = static_cast<float>(static_cast<double>(of_weights[o]) * in.scale * unit);
        offset_[o] = static_cast<float>(conv.weights->bias()[o] * unit + shift);
    }
    inverse_scale_ = static_cast<float>(inverse);
    zero_point_ = static_cast<float>(out.zero_point);
    if (to_bytes && activation != Activation::none) least_ = static_cast<std::uint8_t>(out.zero_point);
    if (to_bytes && activation == Activation::relu6)
        most_ = static_cast<float>(std::min(255.0, std::nearbyint(6.0 * inverse) + out.zero_point));
}

ByteEpilogue ByteScales::epilogue(const StepMaps& maps, std::int64_t pixel, std::int64_t lane) const {
    const Map &added = maps.inputs[1], &output = maps.output;
    ByteEpilogue made{};
    made.scale = scale_.data();
    made.offset = offset_.data();
    made.stride = output.channel_stride();
    made.activation = activation_;
    if (makes_floats_) {
        made.floats = output.at(pixel) + lane;
        if (added.data != nullptr) made.float_residual = added.at(pixel) + lane;
        return made;
    }
    made.out = output.at<std::uint8_t>(pixel) + lane;
    if (added.data != nullptr) made.residual = added.at<std::uint8_t>(pixel) + lane;
    made.residual_scale = residual_scale_;
    made.most = most_;
    made.least = least_;
    made.inverse_scale = inverse_scale_;
    made.zero_point = zero_point_;
    return made;
}

}  // namespace sovs
