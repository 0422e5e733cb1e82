// Final sums on their way to a map: the residual, the activation, and the last vector's valid lanes.
#pragma once
#include <cassert>
#include <cstdint>

#include "kernels/f32/activation.h"
#include "kernels/tasks/epilogue.h"
#include "kernels/vec/vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// Writes one channel's sums of pixels that lie side by side, (kVectors - 1) * width < pixels <= kVectors * width.
// Activations that are more than a maximum come later: see finish_rest.
template <int kVectors>
inline void finish(const Epilogue& e, std::int64_t channel, std::int32_t pixels, Vec (&sum)[kVectors]) {
    constexpr int W = Vec::kWidth;
    float* out = e.out + channel * e.channel_stride;
    const int tail = pixels - (kVectors - 1) * W;  // valid lanes of the last vector
    if (e.residual != nullptr) {
        const float* residual = e.residual + channel * e.channel_stride;
        SOVS_UNROLL
        for (int j = 0; j + 1 < kVectors; ++j) sum[j] = sum[j] + Vec::load(residual + j * W);
        constexpr int end = (kVectors - 1) * W;
        sum[kVectors - 1] =
            sum[kVectors - 1] + (tail == W ? Vec::load(residual + end) : Vec::load_first(residual + end, tail));
    }
    if (e.activation == Activation::relu) SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) sum[j] = Vec::relu(sum[j]);
    SOVS_UNROLL
    for (int j = 0; j + 1 < kVectors; ++j) sum[j].store(out + j * W);
    if (tail == W)
        sum[kVectors - 1].store(out + (kVectors - 1) * W);
    else
        sum[kVectors - 1].store_first(out + (kVectors - 1) * W, tail);
}

// The rest of finish, apart from it: a call takes the registers of all sums that are still to be stored.
inline bool has_rest(const Epilogue& e) { return e.activation > Activation::relu; }
inline void finish_rest(const Epilogue& e, std::int64_t channel, std::int32_t pixels) {
    activate(e.out + channel * e.channel_stride, pixels, e.activation);
}

// All of it for sums in memory, which may be `out` itself.
inline void finish_run(float* out, const float* sums, const float* residual, std::int64_t count,
                       Activation activation) {
    constexpr int W = Vec::kWidth;
    for (std::int64_t i = 0; i < count; i += W) {
        const int lanes = static_cast<int>(count - i < W ? count - i : W);
        Vec v = Vec::load_first(sums + i, lanes);
        if (residual != nullptr) v = v + Vec::load_first(residual + i, lanes);
        if (activation == Activation::relu) v = Vec::relu(v);
        v.store_first(out + i, lanes);
    }
    if (activation > Activation::relu) activate(out, count, activation);
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
