// Moves pixels between activation maps and the panels and sums that the row kernels work on.
#pragma once
#include <cassert>

#include "kernel_table.h"
#include "vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// Not std::min: a standard template compiled here with this ISA's flags could be the copy that the linker keeps for
// the whole library.
inline std::int64_t lesser(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
inline std::int64_t greater(std::int64_t a, std::int64_t b) { return a < b ? b : a; }

inline void copy_run(float* to, const float* from, std::int64_t count) {
    constexpr int W = Vec::kWidth;
    std::int64_t i = 0;
    for (; i + W <= count; i += W) Vec::load(from + i).store(to + i);
    if (i < count) Vec::load_first(from + i, static_cast<int>(count - i)).store_first(to + i, static_cast<int>(count - i));
}

inline void clear_run(float* to, std::int64_t count) {
    constexpr int W = Vec::kWidth;
    std::int64_t i = 0;
    for (; i + W <= count; i += W) Vec::zero().store(to + i);
    if (i < count) Vec::zero().store_first(to + i, static_cast<int>(count - i));
}

// to[c * to_stride + p] = from[p * from_stride + c], in squares small enough for both sides to stay in L1.
inline void transpose(float* to, std::ptrdiff_t to_stride, const float* from, std::ptrdiff_t from_stride,
                      std::int64_t pixels, std::int64_t channels) {
    constexpr std::int64_t kSide = 16;
    for (std::int64_t p0 = 0; p0 < pixels; p0 += kSide) {
        const std::int64_t p1 = lesser(pixels, p0 + kSide);
        for (std::int64_t c0 = 0; c0 < channels; c0 += kSide) {
            const std::int64_t c1 = lesser(channels, c0 + kSide);
            for (std::int64_t c = c0; c < c1; ++c)
                for (std::int64_t p = p0; p < p1; ++p) to[c * to_stride + p] = from[p * from_stride + c];
        }
    }
}

// The columns [begin, end) of a row of `cols` that lie inside the image.
struct Inside {
    std::int64_t begin, end;
    Inside(std::int64_t x0, std::int64_t stride, std::int64_t cols, std::int64_t width) {
        begin = x0 >= 0 ? 0 : lesser(cols, (-x0 + stride - 1) / stride);
        end = x0 >= width ? begin : greater(begin, lesser(cols, (width - 1 - x0) / stride + 1));
    }
};

inline void pack(const PackTask& t) {
    assert(t.channels > 0 && t.rows > 0 && t.cols > 0);
    assert(t.stride_h > 0 && t.stride_w > 0);
    assert(t.cols <= t.panel_row_stride || t.rows == 1);
    const Inside in(t.x0, t.stride_w, t.cols, t.width);
    for (int r = 0; r < t.rows; ++r) {
        const std::int64_t y = t.y0 + r * t.stride_h;
        float* to = t.panel + r * t.panel_row_stride;
        const bool outside = y < 0 || y >= t.height || in.begin == in.end;
        if (outside || in.begin > 0 || in.end < t.cols) {
            for (int k = 0; k < t.channels; ++k) {
                float* row = to + k * t.panel_channel_stride;
                if (outside) {
                    clear_run(row, t.cols);
                } else {
                    clear_run(row, in.begin);
                    clear_run(row + in.end, t.cols - in.end);
                }
            }
        }
        if (outside) continue;
        const float* from = t.source + y * t.row_stride + (t.x0 + in.begin * t.stride_w) * t.pixel_stride;
        const std::int64_t count = in.end - in.begin;
        to += in.begin;
        if (t.channel_stride == 1) {
            transpose(to, t.panel_channel_stride, from, t.stride_w * t.pixel_stride, count, t.channels);
        } else if (t.stride_w == 1) {
            for (int k = 0; k < t.channels; ++k)
                copy_run(to + k * t.panel_channel_stride, from + k * t.channel_stride, count);
        } else {
            for (int k = 0; k < t.channels; ++k)
                for (std::int64_t c = 0; c < count; ++c)
                    to[k * t.panel_channel_stride + c] = from[k * t.channel_stride + c * t.stride_w];
        }
    }
}

inline void store_run(float* out, const float* sums, const float* residual, std::int64_t count, bool relu) {
    constexpr int W = Vec::kWidth;
    for (std::int64_t i = 0; i < count; i += W) {
        const int lanes = static_cast<int>(lesser(W, count - i));
        Vec v = Vec::load_first(sums + i, lanes);
        if (residual != nullptr) v = v + Vec::load_first(residual + i, lanes);
        if (relu) v = Vec::relu(v);
        v.store_first(out + i, lanes);
    }
}

inline void store(const StoreTask& t) {
    assert(t.channels > 0 && t.rows > 0 && t.cols > 0);
    assert(t.rows == 1 || t.cols <= t.pitch);
    assert(t.pixel_stride == 1 || t.channel_stride == 1);
    if (t.pixel_stride == 1) {
        for (int m = 0; m < t.channels; ++m)
            for (int r = 0; r < t.rows; ++r) {
                const std::ptrdiff_t place = m * t.channel_stride + r * t.row_stride;
                store_run(t.out + place, t.sums + m * t.sums_stride + r * t.pitch,
                          t.residual == nullptr ? nullptr : t.residual + place, t.cols, t.relu);
            }
        return;
    }
    // channels_last: a pixel's channels are the run.
    for (int r = 0; r < t.rows; ++r) {
        float* out = t.out + r * t.row_stride;
        transpose(out, t.pixel_stride, t.sums + r * t.pitch, t.sums_stride, t.channels, t.cols);
        if (t.residual == nullptr && !t.relu) continue;
        for (int c = 0; c < t.cols; ++c) {
            const std::ptrdiff_t place = r * t.row_stride + c * t.pixel_stride;
            store_run(t.out + place, t.out + place, t.residual == nullptr ? nullptr : t.residual + place, t.channels,
                      t.relu);
        }
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
