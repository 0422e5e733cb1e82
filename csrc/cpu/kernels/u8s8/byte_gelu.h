// GELUs whose results become bytes: polynomials without a division, off by less than a hundredth of what a step of the output's
// scale makes up at the end of its range.
#pragma once
#include "kernels/vec/vec_math.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// 1 / 2 and an odd function of x, cut off at `end`: x times a polynomial in z = 2 (x / end)^2 - 1, highest power first.
template <int kCount>
inline Vec half_and_odd(Vec x, float end, const float (&factors)[kCount]) {
    x = Vec::max(constant(-end), Vec::min(constant(end), x));
    const Vec z = Vec::fma(x * x, constant(2.0f / (end * end)), constant(-1.0f));
    Vec p = constant(factors[0]);
    SOVS_UNROLL
    for (int i = 1; i < kCount; ++i) p = Vec::fma(p, z, constant(factors[i]));
    return Vec::fma(x, p, constant(0.5f));
}

// (1 + erf(x / sqrt(2))) / 2, the largest error the least: 1.1e-5.
inline Vec byte_normal(Vec x) {
    constexpr float kFactors[] = {
        0.00219664606f, -0.00581759261f, 0.00810460933f, -0.0136753609f, 0.025004968f, -0.0389556326f, 0.055814445f,
        -0.0814820379f, 0.167856142f};
    return half_and_odd(x, 4.2f, kFactors);
}

// The same of the sigmoid: 6.9e-5.
inline Vec byte_sigmoid(Vec x) {
    constexpr float kFactors[] = {
        0.0491449796f, -0.0609125495f, -0.0809449852f, 0.0985343307f, 0.0695569962f, -0.0824086666f, -0.0104968669f,
        0.0100185741f, 0.0199301094f, -0.0241836254f, 0.0271912515f, -0.0381801315f, 0.0782984868f};
    return half_and_odd(x, 9.0f, kFactors);
}

inline Vec byte_gelu(Vec x) { return x * byte_normal(x); }

inline Vec byte_gelu_tanh(Vec x) {
    const Vec cubic = Vec::fma(x * x * x, constant(0.044715f), x);
    return x * byte_sigmoid(cubic * constant(1.59576912f));
}

inline Vec byte_quick_gelu(Vec x) { return x * byte_sigmoid(x * constant(1.702f)); }

}  // namespace sovs::SOVS_ISA_NAMESPACE
