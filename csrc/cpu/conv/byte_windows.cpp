#include "conv/byte_windows.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/byte_table.h"
#include "maps/byte_runs.h"

namespace sovs {
namespace {

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// Along one axis: which of the stride's phases a tap reads, and how much further on than its output pixel.
struct Phase {
    std::int64_t number, further;
};

Phase phase_of(std::int64_t tap, std::int64_t dilation, std::int64_t pad, std::int64_t stride) {
    const std::int64_t further = floor_div(tap * dilation - pad, stride);
    return {tap * dilation - pad - further * stride, further};
}

// Outputs [begin, end) along an axis whose tap lies inside the input.
Range inside(std::int64_t tap, std::int64_t dilation, std::int64_t pad, std::int64_t stride, std::int64_t side) {
    const std::int64_t place = tap * dilation - pad;
    return {-floor_div(place, stride), -floor_div(place - side, stride)};
}

}  // namespace

ByteWindows::ByteWindows(const ConvShape& shape, const TensorDesc& input, const TensorDesc& output, std::int64_t width,
                         std::vector<std::int32_t> columns)
    : shape_(shape),
      input_(input),
      output_(output),
      number_(static_cast<std::int64_t>(size_of(output.dtype))),
      columns_(std::move(columns)) {
    require(width > 0 && width % output.line() == 0, "expected windows of whole lines");
    require(input.dtype == output.dtype, "expected an input of the output's type");
    const std::int64_t most = std::min(width, output.pitch());
    windows_a_tile_ = (output.pitch() + most - 1) / most;
    width_ = output.whole_lines((output.pitch() + windows_a_tile_ - 1) / windows_a_tile_);
    const auto windows_of = [&](std::int64_t pixels) { return (pixels + width_ - 1) / width_; };
    windows_a_tile_ = windows_of(output.tile);
    count_ = output.pixels() / output.tile * windows_a_tile_ + windows_of(output.pixels() % output.tile);
    const auto right = [&](std::int64_t tap) {
        return phase_of(tap, shape.dilation_w, shape.pad_w, shape.stride_w).further;
    };
    split_begin_ = std::max<std::int64_t>(0, -right(0));
    const std::int64_t pixels =
        std::max(input.w / shape.stride_w + 1, output.w + std::max<std::int64_t>(0, right(shape.kernel_w - 1)));
    split_pitch_ = split_begin_ + pixels;
    for (const std::int32_t tap : columns_) {
        const std::int64_t ky = tap / shape.kernel_w, kx = tap % shape.kernel_w;
        const Phase row = phase_of(ky, shape.dilation_h, shape.pad_h, shape.stride_h);
        const Phase column = phase_of(kx, shape.dilation_w, shape.pad_w, shape.stride_w);
        shifts_.push_back({row.number * shape.stride_w + column.number, row.further * output.w + column.further,
                           inside(ky, shape.dilation_h, shape.pad_h, shape.stride_h, input.h),
                           inside(kx, shape.dilation_w, shape.pad_w, shape.stride_w, input.w)});
    }
}

ByteWindow ByteWindows::at(long window) const {
    const std::int64_t tile = window / windows_a_tile_, begin = tile * output_.tile + window % windows_a_tile_ * width_;
    const std::int64_t end = std::min({begin + width_, (tile + 1) * output_.tile, output_.pixels()});
    return {begin, end, output_.whole_lines(end - begin)};
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

bool ByteWindows::shifts(std::int64_t stride_h, std::int64_t stride_w, const TensorDesc& input,
                         const TensorDesc& output) {
    return input.h == stride_h * output.h && input.w == stride_w * output.w;
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
    std::int64_t most = 1;
    ByteTaps taps;
    for (long window = 0; window < count(); ++window) {
        if (shifts()) {
            lay_line(at(window), taps);
            most = std::max(most, taps.span);
        } else {
            const Range range = reads(at(window));
            most = std::max(most, range.end - range.begin);
        }
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
    const Range range = reads(window);
    taps.read.begin = std::max(taps.first, range.begin);
    taps.read.end = std::max(taps.read.begin, std::min(taps.first + taps.span, range.end));
}

// The line, and where its phases lie: in whole rows, each of which goes to one phase of rows and all phases of columns.
void ByteWindows::lay_line(const ByteWindow& window, ByteTaps& taps) const {
    std::int64_t least = 0, most = 0;
    for (const TapShift& shift : shifts_) {
        least = std::min(least, shift.further);
        most = std::max(most, shift.further);
    }
    taps.first = window.begin + least;
    taps.span = window.lanes + most - least;
    if (!strided()) return;
    const std::int64_t row = floor_div(taps.first, output_.w);
    const std::int64_t rows = (window.begin + window.lanes + most + output_.w - 1) / output_.w - row;
    taps.first = row * shape_.stride_h * input_.w;
    taps.span = rows * shape_.stride_h * input_.w;
    taps.phase_bytes = whole_byte_lines(rows * output_.w * number_ + kByteLine);
}

void ByteWindows::find_shifts(const ByteWindow& window, ByteTaps& taps) const {
    lay_line(window, taps);
    // Lane 0, among the pixels of a phase that the line has.
    const std::int64_t origin =
        window.begin - (strided() ? taps.first / shape_.stride_h / shape_.stride_w : taps.first);
    if (strided()) taps.split.resize(static_cast<std::size_t>(shape_.stride_h * shape_.stride_w * taps.phase_bytes));
    taps.sources.assign(static_cast<std::size_t>(shape_.taps()), 0);
    taps.masks.assign(static_cast<std::size_t>(shape_.taps() * column_bytes()), 0);
    for (std::size_t i = 0; i < columns_.size(); ++i)
        taps.sources[columns_[i]] = static_cast<std::int32_t>((strided() ? shifts_[i].phase * taps.phase_bytes : 0) +
                                                              (origin + shifts_[i].further) * number_);
    each_run(window, [&](std::int64_t, std::int64_t y, std::int64_t x, std::int64_t count, std::int64_t lane) {
        for (std::size_t i = 0; i < columns_.size(); ++i) {
            const auto& [phase, further, rows, columns] = shifts_[i];
            if (y < rows.begin || y >= rows.end) continue;
            const std::int64_t begin = std::clamp<std::int64_t>(columns.begin - x, 0, count);
            const std::int64_t end = std::clamp<std::int64_t>(columns.end - x, begin, count);
            std::memset(&taps.masks[static_cast<std::size_t>((columns_[i] * width_ + lane + begin) * number_)], 255,
                        static_cast<std::size_t>((end - begin) * number_));
        }
    });
}

void ByteWindows::find_split(const ByteWindow& window, std::uint8_t zero, ByteTaps& taps) const {
    const Range range = reads(window);
    taps.first = range.begin;
    taps.span = range.end - range.begin;
    const std::int64_t rows = taps.span / input_.w, row_bytes = shape_.stride_w * split_pitch_ * number_;
    // What no pixel is split to stays zero, the last row as a whole.
    taps.split.assign(static_cast<std::size_t>((rows + 1) * row_bytes + split_begin_ * number_ + kByteLine), zero);
    each_run(window, [&](std::int64_t image, std::int64_t y, std::int64_t x, std::int64_t count, std::int64_t lane) {
        taps.runs.push_back({static_cast<std::int32_t>(lane * number_), static_cast<std::int32_t>(count * number_)});
        taps.starts.push_back({image, y * shape_.stride_h - shape_.pad_h, x});
    });
    for (const std::int32_t tap : columns_) {
        const Phase phase = phase_of(tap % shape_.kernel_w, shape_.dilation_w, shape_.pad_w, shape_.stride_w);
        for (const ByteTaps::Start& start : taps.starts) {
            const std::int64_t y = start.row + tap / shape_.kernel_w * shape_.dilation_h;
            const bool inside = y >= 0 && y < input_.h;
            const std::int64_t row = inside ? start.image * input_.h + y - range.begin / input_.w : rows;
            taps.sources.push_back(static_cast<std::int32_t>(
                row * row_bytes + (phase.number * split_pitch_ + start.x + phase.further) * number_));
        }
    }
}

void ByteWindows::load_line(const ByteTaps& taps, const Map& input, std::int64_t channel, std::uint8_t* line) const {
    const std::int64_t pixels = taps.read.end - taps.read.begin;
    std::uint8_t* const to = line + (taps.read.begin - taps.first) * number_;
    if (number_ == 1)
        load_run(input, taps.read.begin, channel, pixels, to);
    else
        load_run(input, taps.read.begin, channel, pixels, reinterpret_cast<std::uint16_t*>(to));
}

const std::uint8_t* ByteWindows::shifted_line(ByteTaps& taps, const Map& input, std::int64_t channel,
                                              std::uint8_t* line) const {
    return shifted_line(taps, input, channel, line, taps.split.data());
}

const std::uint8_t* ByteWindows::shifted_line(const ByteTaps& taps, const Map& input, std::int64_t channel,
                                              std::uint8_t* line, std::uint8_t* phases) const {
    load_line(taps, input, channel, line);
    if (!strided()) return line;
    byte_kernels().phases[number_]({line, static_cast<std::int32_t>(taps.span / input_.w),
                                    static_cast<std::int32_t>(input_.w), static_cast<std::int32_t>(shape_.stride_h),
                                    static_cast<std::int32_t>(shape_.stride_w), phases, taps.phase_bytes});
    return phases;
}

void ByteWindows::pack(ByteTaps& taps, const Map& input, std::int64_t begin, std::int64_t end, std::uint8_t zero,
                       std::uint8_t* line, std::uint8_t* panel) const {
    const std::int64_t channel_bytes = shape_.taps() * column_bytes();
    const auto columns = static_cast<std::int32_t>(columns_.size());
    for (std::int64_t channel = begin; channel < end; ++channel, panel += channel_bytes) {
        if (shifts()) {
            const std::uint8_t* const shifted = shifted_line(taps, input, channel, line);
            byte_kernels().taps({shifted, columns_.data(), taps.sources.data(), taps.masks.data(), columns,
                                 static_cast<std::int32_t>(column_bytes()), zero, panel});
            continue;
        }
        load_line(taps, input, channel, line);
        byte_kernels().split[number_]({line, static_cast<std::int32_t>(taps.span / input_.w),
                                       static_cast<std::int32_t>(input_.w), static_cast<std::int32_t>(shape_.stride_w),
                                       taps.split.data() + split_begin_ * number_, split_pitch_ * number_,
                                       columns_.data(), taps.sources.data(), taps.runs.data(), columns,
                                       static_cast<std::int32_t>(taps.runs.size()), panel, column_bytes()});
    }
}

}  // namespace sovs
