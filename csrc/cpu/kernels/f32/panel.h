// Moves pixels between activation maps and the panels and sums that the row kernels work on.
#pragma once
#include <cassert>

#include "kernels/f32/epilogue.h"
#include "kernels/tasks/panel.h"
#include "kernels/vec/vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// Not std::min: a standard template compiled here with this ISA's flags could be the copy that the linker keeps for
// the whole library.
inline std::int64_t lesser(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

inline void copy_run(float* to, const float* from, std::int64_t count) {
    constexpr int W = Vec::kWidth;
    std::int64_t i = 0;
    for (; i + W <= count; i += W) Vec::load(from + i).store(to + i);
    if (i < count)
        Vec::load_first(from + i, static_cast<int>(count - i)).store_first(to + i, static_cast<int>(count - i));
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

inline void pack(const PackTask& t) {
    assert(t.channels > 0 && t.pixels > 0);
    if (t.channel_stride == 1) {
        transpose(t.panel, t.panel_channel_stride, t.source, t.pixel_stride, t.pixels, t.channels);
    } else if (t.pixel_stride == 1) {
        for (int k = 0; k < t.channels; ++k)
            copy_run(t.panel + k * t.panel_channel_stride, t.source + k * t.channel_stride, t.pixels);
    } else {
        for (int k = 0; k < t.channels; ++k)
            for (std::int64_t p = 0; p < t.pixels; ++p)
                t.panel[k * t.panel_channel_stride + p] = t.source[k * t.channel_stride + p * t.pixel_stride];
    }
}

inline void clear(float* panel, std::ptrdiff_t channel_stride, std::int32_t channels, std::int32_t pixels) {
    constexpr int W = Vec::kWidth;
    for (int k = 0; k < channels; ++k) {
        float* row = panel + k * channel_stride;
        std::int64_t i = 0;
        for (; i + W <= pixels; i += W) Vec::zero().store(row + i);
        if (i < pixels) Vec::zero().store_first(row + i, static_cast<int>(pixels - i));
    }
}

inline void store(const StoreTask& t) {
    const Epilogue& e = t.epilogue;
    assert(t.channels > 0 && t.pixels > 0);
    assert(e.pixel_stride == 1 || e.channel_stride == 1);
    if (e.pixel_stride == 1) {
        for (int m = 0; m < t.channels; ++m)
            finish_run(e.out + m * e.channel_stride, t.sums + m * t.sums_stride,
                       e.residual == nullptr ? nullptr : e.residual + m * e.channel_stride, t.pixels, e.activation);
        return;
    }
    // Pixel-major: a pixel's channels are the run.
    transpose(e.out, e.pixel_stride, t.sums, t.sums_stride, t.channels, t.pixels);
    if (e.residual == nullptr && e.activation == Activation::none) return;
    for (int p = 0; p < t.pixels; ++p) {
        const std::ptrdiff_t place = p * e.pixel_stride;
        finish_run(e.out + place, e.out + place, e.residual == nullptr ? nullptr : e.residual + place, t.channels,
                   e.activation);
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
