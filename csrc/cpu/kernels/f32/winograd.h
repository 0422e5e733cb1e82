// The transforms of Winograd's F(2x2, 3x3) (Lavin and Gray, 2016, section 4.1), channels in the vector lanes.
//
// Their constants are 0 and 1 only (halves are in the weights), so the sums lose no more than those of a plain
// convolution. F(4x4) would multiply less and loses five times as much.
#pragma once
#include <cassert>

#include "kernels/tasks/winograd.h"
#include "kernels/vec/vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

inline void patch(const PatchTask& t) {
    assert(t.channels > 0 && t.x0 >= 0 && t.x1 <= 4);
    constexpr int W = Vec::kWidth;
    for (std::int32_t c = 0; c < t.channels; c += W) {
        const int lanes = t.channels - c < W ? t.channels - c : W;
        Vec d[4][4];
        SOVS_UNROLL
        for (int y = 0; y < 4; ++y) SOVS_UNROLL
        for (int x = 0; x < 4; ++x) {
            const bool inside = t.rows[y] != nullptr && x >= t.x0 && x < t.x1;
            d[y][x] = inside ? Vec::load_first(t.rows[y] + x * t.pixel_stride + c, lanes) : Vec::zero();
        }
        Vec rows[4][4];
        SOVS_UNROLL
        for (int x = 0; x < 4; ++x) {
            rows[0][x] = d[0][x] - d[2][x];
            rows[1][x] = d[1][x] + d[2][x];
            rows[2][x] = d[2][x] - d[1][x];
            rows[3][x] = d[1][x] - d[3][x];
        }
        float* to = t.points + c;
        SOVS_UNROLL
        for (int y = 0; y < 4; ++y, to += 4 * t.point_stride) {
            (rows[y][0] - rows[y][2]).store_first(to, lanes);
            (rows[y][1] + rows[y][2]).store_first(to + t.point_stride, lanes);
            (rows[y][2] - rows[y][1]).store_first(to + 2 * t.point_stride, lanes);
            (rows[y][1] - rows[y][3]).store_first(to + 3 * t.point_stride, lanes);
        }
    }
}

inline void quad(const QuadTask& t) {
    assert(t.channels > 0 && t.cols >= 1 && t.cols <= 2);
    constexpr int W = Vec::kWidth;
    for (std::int32_t c = 0; c < t.channels; c += W) {
        const int lanes = t.channels - c < W ? t.channels - c : W;
        Vec rows[2][4];
        SOVS_UNROLL
        for (int x = 0; x < 4; ++x) {
            const float* m = t.points + x * t.point_stride + c;
            const std::ptrdiff_t row = 4 * t.point_stride;
            const Vec m1 = Vec::load_first(m + row, lanes), m2 = Vec::load_first(m + 2 * row, lanes);
            rows[0][x] = Vec::load_first(m, lanes) + m1 + m2;
            rows[1][x] = m1 - m2 - Vec::load_first(m + 3 * row, lanes);
        }
        const Vec bias = Vec::load_first(t.bias + c, lanes);
        for (int y = 0; y < 2; ++y) {
            if (t.rows[y] == nullptr) continue;
            Vec pair[2] = {rows[y][0] + rows[y][1] + rows[y][2] + bias, rows[y][1] - rows[y][2] - rows[y][3] + bias};
            for (int x = 0; x < 2 && x < t.cols; ++x) {
                if (t.relu) pair[x] = Vec::relu(pair[x]);
                pair[x].store_first(t.rows[y] + x * t.pixel_stride + c, lanes);
            }
        }
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
