// The numbers of a layer's stored weights: float32, or s8 with a scale for each output channel.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/dtype.h"

namespace sovs {

// Numbers where callers and files hold them.
struct ValuesView {
    DType dtype;
    const void* numbers;
    const float* scales = nullptr;  // (out_channels) of s8, else null
};

// In the order of the blocks that they belong to. A weight is its number, times its channel's scale where it is s8.
class Values {
public:
    Values() = default;
    // Zeros, of the view's type and with its scales; throws InvalidArgument for other types than f32 and s8.
    Values(std::size_t count, const ValuesView& like, std::int64_t out_channels);
    explicit Values(std::size_t count) : Values(count, {DType::f32, nullptr}, 0) {}

    DType dtype() const { return dtype_; }
    std::size_t size() const { return bytes_.size() / size_of(dtype_); }
    // As they lie, for copies that need not know the type.
    std::byte* data() { return bytes_.data(); }

    // Throw InvalidArgument where the numbers are of another type: f32 is what today's kernels read.
    std::span<float> f32();
    std::span<const float> f32() const;
    std::span<const std::int8_t> s8() const;

    const std::vector<float>& scales() const { return scales_; }  // (out_channels) of s8, else empty
    std::size_t bytes() const { return bytes_.size() + scales_.size() * sizeof(float); }

private:
    DType dtype_ = DType::f32;
    std::vector<std::byte> bytes_;
    std::vector<float> scales_;
};

}  // namespace sovs
