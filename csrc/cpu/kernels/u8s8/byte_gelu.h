// GELUs whose results become bytes: polynomials without a division, which take a third of its time. What they are off by is at
// most a fiftieth of a byte's step, where the scale covers the numbers, and nothing past their ends.
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

// (1 + erf(x / sqrt(2))) / 2, the largest error the least, 1.0e-5; the polynomial is 1 / 2 at the end.
inline Vec byte_normal(Vec x) {
    constexpr float kFactors[] = {0.00274676806f, -0.00703784684f, 0.00907768309f, -0.014515507f, 0.0261484906f,
                                  -0.0397170559f, 0.0555609539f,   -0.0800382644f, 0.164053842f};
    return half_and_odd(x, 4.3f, kFactors);
}

// The same of the sigmoid: 8.6e-5.
inline Vec byte_sigmoid(Vec x) {
    constexpr float kFactors[] = {0.0700113773f, -0.0841155127f, -0.121202447f, 0.141979396f,  0.101837046f,
                                  -0.115297683f, -0.0215272736f, 0.0203965493f, 0.0216895733f, -0.0251455866f,
                                  0.0261122584f, -0.0363607407f, 0.0742546245f};
    return half_and_odd(x, 9.5f, kFactors);
}

inline Vec byte_gelu(Vec x) { return x * byte_normal(x); }

inline Vec byte_gelu_tanh(Vec x) {
    const Vec cubic = Vec::fma(x * x * x, constant(0.044715f), x);
    return x * byte_sigmoid(cubic * constant(1.59576912f));
}

inline Vec byte_quick_gelu(Vec x) { return x * byte_sigmoid(x * constant(1.702f)); }

}  // namespace sovs::SOVS_ISA_NAMESPACE
