#include "conv/byte_windows.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/byte_table.h"
#include "maps/byte_runs.h"

namespace sovs {
namespace {

// The split row that a tap reads, and how much further right than its output pixel.
struct Split {
    std::int64_t row, right;
};

Split split_of(std::int64_t tap, std::int64_t dilation, std::int64_t pad, std::int64_t stride) {
    const std::int64_t place = tap * dilation - pad;
    const std::int64_t row = ((place % stride) + stride) % stride;
    return {row, (place - row) / stride};
}

}  // namespace

ByteWindows::ByteWindows(const ConvShape& shape, const TensorDesc& input, const TensorDesc& output, std::int64_t width,
                         std::vector<std::int32_t> columns)
    : shape_(shape), input_(input), output_(output), columns_(std::move(columns)) {
    require(width > 0 && width % kByteLine == 0, "expected windows of whole lines");
    const std::int64_t most = std::min(width, output.pitch());
    windows_a_tile_ = (output.pitch() + most - 1) / most;
    width_ = whole_byte_lines((output.pitch() + windows_a_tile_ - 1) / windows_a_tile_);
    const auto windows_of = [&](std::int64_t pixels) { return (pixels + width_ - 1) / width_; };
    windows_a_tile_ = windows_of(output.tile);
    count_ = output.pixels() / output.tile * windows_a_tile_ + windows_of(output.pixels() % output.tile);
    const auto right = [&](std::int64_t tap) {
        return split_of(tap, shape.dilation_w, shape.pad_w, shape.stride_w).right;
    };
    split_begin_ = std::max<std::int64_t>(0, -right(0));
    const std::int64_t pixels =
        std::max(input.w / shape.stride_w + 1, output.w + std::max<std::int64_t>(0, right(shape.kernel_w - 1)));
    split_pitch_ = split_begin_ + pixels;
}

ByteWindow ByteWindows::at(long window) const {
    const std::int64_t tile = window / windows_a_tile_, begin = tile * output_.tile + window % windows_a_tile_ * width_;
    return {begin, std::min({begin + width_, (tile + 1) * output_.tile, output_.pixels()})};
}

Range ByteWindows::reads(const ByteWindow& window) const {
    if (shape_.pointwise()) return {window.begin, window.end};
    const auto row = [&](std::int64_t pixel, std::int64_t tap_row) {  // of the input, through all images
        const std::int64_t image = pixel / output_.image_pixels(), y = pixel % output_.image_pixels() / output_.w;
        return image * input_.h + std::clamp<std::int64_t>(y * shape_.stride_h - shape_.pad_h + tap_row, 0, input_.h);
    };
    const std::int64_t first = row(window.begin, 0);
    const std::int64_t last = row(window.end - 1, (shape_.kernel_h - 1) * shape_.dilation_h + 1);
    return {first * input_.w, std::max(first, last) * input_.w};
}

bool ByteWindows::shifts() const {
    return shape_.stride_h == 1 && shape_.stride_w == 1 && input_.h == output_.h && input_.w == output_.w;
}

template <typename Body>
void ByteWindows::each_run(const ByteWindow& window, Body&& body) const {
    for (std::int64_t pixel = window.begin; pixel < window.end;) {
        const std::int64_t image = pixel / output_.image_pixels(), of_image = pixel % output_.image_pixels();
        const std::int64_t y = of_image / output_.w, x = of_image % output_.w;
        const std::int64_t count = std::min(window.end - pixel, output_.w - x);
        body(image, y, x, count, pixel - window.begin);
        pixel += count;
    }
}

std::int64_t ByteWindows::most_span() const {
    if (shifts()) {
        const std::int64_t reach = (shape_.kernel_h - 1) * shape_.dilation_h * input_.w;
        return width_ + reach + (shape_.kernel_w - 1) * shape_.dilation_w;
    }
    std::int64_t most = 1;
    for (long window = 0; window < count(); ++window) {
        const Range range = reads(at(window));
        most = std::max(most, range.end - range.begin);
    }
    return most;
}

void ByteWindows::find_taps(const ByteWindow& window, std::uint8_t zero, ByteTaps& taps) const {
    taps.sources.clear();
    taps.masks.clear();
    taps.runs.clear();
    taps.starts.clear();
    if (shifts())
        find_shifts(window, taps);
    else
        find_split(window, zero, taps);
}

void ByteWindows::find_shifts(const ByteWindow& window, ByteTaps& taps) const {
    const std::int64_t lanes = window.lanes();
    taps.first = window.begin - shape_.pad_h * input_.w - shape_.pad_w;
    taps.span =
        lanes + (shape_.kernel_h - 1) * shape_.dilation_h * input_.w + (shape_.kernel_w - 1) * shape_.dilation_w;
    for (std::int64_t ky = 0; ky < shape_.kernel_h; ++ky)
        for (std::int64_t kx = 0; kx < shape_.kernel_w; ++kx)
            taps.sources.push_back(
                static_cast<std::int32_t>(ky * shape_.dilation_h * input_.w + kx * shape_.dilation_w));
    taps.masks.assign(static_cast<std::size_t>(shape_.taps() * width_), 0);
    each_run(window, [&](std::int64_t, std::int64_t y, std::int64_t x, std::int64_t count, std::int64_t lane) {
        for (std::int64_t tap = 0; tap < shape_.taps(); ++tap) {
            const std::int64_t in_y = y + tap / shape_.kernel_w * shape_.dilation_h - shape_.pad_h;
            const std::int64_t to_x = tap % shape_.kernel_w * shape_.dilation_w - shape_.pad_w;
            if (in_y < 0 || in_y >= input_.h) continue;
            const std::int64_t begin = std::clamp<std::int64_t>(-to_x - x, 0, count);
            const std::int64_t end = std::clamp<std::int64_t>(input_.w - to_x - x, begin, count);
            std::memset(&taps.masks[static_cast<std::size_t>(tap * width_ + lane + begin)], 255,
                        static_cast<std::size_t>(end - begin));
        }
    });
}

void ByteWindows::find_split(const ByteWindow& window, std::uint8_t zero, ByteTaps& taps) const {
    const Range range = reads(window);
    taps.first = range.begin;
    taps.span = range.end - range.begin;
    const std::int64_t rows = taps.span / input_.w, row_bytes = shape_.stride_w * split_pitch_;
    // What no pixel is split to stays zero, the last row as a whole.
    taps.split.assign(static_cast<std::size_t>((rows + 1) * row_bytes + split_begin_ + kByteLine), zero);
    each_run(window, [&](std::int64_t image, std::int64_t y, std::int64_t x, std::int64_t count, std::int64_t lane) {
        taps.runs.push_back({static_cast<std::int32_t>(lane), static_cast<std::int32_t>(count)});
        taps.starts.push_back({image, y * shape_.stride_h - shape_.pad_h, x});
    });
    for (const std::int32_t tap : columns_) {
        const Split split = split_of(tap % shape_.kernel_w, shape_.dilation_w, shape_.pad_w, shape_.stride_w);
        for (const ByteTaps::Start& start : taps.starts) {
            const std::int64_t y = start.row + tap / shape_.kernel_w * shape_.dilation_h;
            const bool inside = y >= 0 && y < input_.h;
            const std::int64_t row = inside ? start.image * input_.h + y - range.begin / input_.w : rows;
            taps.sources.push_back(
                static_cast<std::int32_t>(row * row_bytes + split.row * split_pitch_ + start.x + split.right));
        }
    }
}

void ByteWindows::pack(ByteTaps& taps, const Map& input, std::int64_t begin, std::int64_t end, std::uint8_t zero,
                       std::uint8_t* line, std::uint8_t* panel) const {
    // Pixels of the span that there are; no tap reads the others.
    const std::int64_t from = std::max<std::int64_t>(taps.first, 0);
    const std::int64_t to = std::min(taps.first + taps.span, input_.pixels());
    const std::int64_t channel_bytes = shape_.taps() * width_;
    for (std::int64_t channel = begin; channel < end; ++channel, panel += channel_bytes) {
        load_bytes(input, from, channel, to - from, line + (from - taps.first));
        if (taps.runs.empty())
            byte_kernels().taps({line, taps.sources.data(), taps.masks.data(), static_cast<std::int32_t>(shape_.taps()),
                                 static_cast<std::int32_t>(width_), zero, panel});
        else
            byte_kernels().split({line, static_cast<std::int32_t>(taps.span / input_.w),
                                  static_cast<std::int32_t>(input_.w), static_cast<std::int32_t>(shape_.stride_w),
                                  taps.split.data() + split_begin_, split_pitch_, columns_.data(), taps.sources.data(),
                                  taps.runs.data(), static_cast<std::int32_t>(columns_.size()),
                                  static_cast<std::int32_t>(taps.runs.size()), panel, width_});
    }
}

}  // namespace sovs
