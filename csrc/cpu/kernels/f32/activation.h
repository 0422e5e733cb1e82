// Activations that are more than a maximum, over a run of final sums.
#pragma once
#include <cassert>
#include <cstdint>

#include "kernels/tasks/activation.h"
#include "kernels/vec/vec_math.h"

namespace sovs::SOVS_ISA_NAMESPACE {

inline Vec gelu(Vec x) {
    const Vec half = constant(0.5f) * x;
    return Vec::fma(half, erf(x * constant(0.70710678f)), half);
}

// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
inline Vec gelu_tanh(Vec x) {
    const Vec cubic = Vec::fma(x * x * x, constant(0.044715f), x);
    return x * sigmoid(cubic * constant(1.59576912f));
}

inline Vec relu6(Vec x) { return Vec::min(constant(6.0f), Vec::relu(x)); }

inline Vec quick_gelu(Vec x) { return x * sigmoid(x * constant(1.702f)); }

template <typename Function>
inline void map_run(float* values, std::int64_t count, Function function) {
    constexpr int W = Vec::kWidth;
    std::int64_t i = 0;
    for (; i + W <= count; i += W) function(Vec::load(values + i)).store(values + i);
    const int tail = static_cast<int>(count - i);
    if (tail > 0) function(Vec::load_first(values + i, tail)).store_first(values + i, tail);
}

[[gnu::noinline]] inline void activate(float* values, std::int64_t count, Activation activation) {
    assert(activation > Activation::relu);
    if (activation == Activation::gelu)
        map_run(values, count, gelu);
    else if (activation == Activation::gelu_tanh)
        map_run(values, count, gelu_tanh);
    else if (activation == Activation::relu6)
        map_run(values, count, relu6);
    else
        map_run(values, count, quick_gelu);
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
