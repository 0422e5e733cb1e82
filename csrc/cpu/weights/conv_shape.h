// The sizes of a convolution.
#pragma once
#include <cstdint>

namespace sovs {

// Output pixels along one axis; 0 where the kernel is larger than the padded map.
constexpr std::int64_t conv_out_size(std::int64_t side, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                                     std::int64_t dilation) {
    const std::int64_t room = side + 2 * pad - dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

struct ConvShape {
    std::int64_t out_channels, in_channels, kernel_h, kernel_w, groups;  // in_channels of one group
    std::int64_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;

    std::int64_t taps() const { return kernel_h * kernel_w; }
    // Pixels are independent of their neighbours: the map is one flat run.
    bool pointwise() const {
        return kernel_h == 1 && kernel_w == 1 && stride_h == 1 && stride_w == 1 && pad_h == 0 && pad_w == 0;
    }
    std::int64_t out_h(std::int64_t h) const { return conv_out_size(h, kernel_h, stride_h, pad_h, dilation_h); }
    std::int64_t out_w(std::int64_t w) const { return conv_out_size(w, kernel_w, stride_w, pad_w, dilation_w); }
};

}  // namespace sovs
