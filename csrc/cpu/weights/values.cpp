#include "weights/values.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"

namespace sovs {
namespace {

void require_f32(DType dtype) {
    if (dtype != DType::f32)
        throw InvalidArgument(std::string("expected float32 weights, got ") + name_of(dtype) +
                              ": no kernel of this version reads them");
}

}  // namespace

Values::Values(std::size_t count, const ValuesView& like, std::int64_t out_channels) : dtype_(like.dtype) {
    if (dtype_ != DType::f32 && dtype_ != DType::s8)
        throw InvalidArgument(std::string("expected float32 or s8 weights, got ") + name_of(dtype_));
    require((dtype_ == DType::s8) == (like.scales != nullptr), "expected scales with s8 weights, and with no others");
    if (like.scales != nullptr) scales_.assign(like.scales, like.scales + out_channels);
    require(std::all_of(scales_.begin(), scales_.end(), [](float s) { return std::isfinite(s) && s >= 0.0f; }),
            "expected finite scales of at least 0");
    bytes_.resize(count * size_of(dtype_));
}

std::span<float> Values::f32() {
    require_f32(dtype_);
    return {reinterpret_cast<float*>(bytes_.data()), size()};
}

std::span<const float> Values::f32() const {
    require_f32(dtype_);
    return {reinterpret_cast<const float*>(bytes_.data()), size()};
}

std::span<const std::int8_t> Values::s8() const {
    require(dtype_ == DType::s8, "expected s8 weights, got float32");
    return {reinterpret_cast<const std::int8_t*>(bytes_.data()), size()};
}

}  // namespace sovs
