// exp and erf of vectors, by range reduction and polynomials, to a few units in the last place.
#pragma once
#include "kernels/vec/vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

inline Vec constant(float value) { return Vec::broadcast(&value); }

// e^x: 2^n times a polynomial in the rest. Inf above 88.37, the smallest normal number below -87.3; NaN passes.
inline Vec exp(Vec x) {
    x = Vec::max(constant(-87.3f), Vec::min(constant(88.8f), x));
    // Adding 1.5 * 2^23 rounds to an integer, which the low bits of the sum then hold.
    const Vec rounder = constant(12582912.0f);
    const Vec shifted = Vec::fma(x, constant(1.44269504f), rounder);
    const Vec n = shifted - rounder;
    Vec r = Vec::fma(n, constant(-0.693359375f), x);
    r = Vec::fma(n, constant(2.12194440e-4f), r);
    Vec p = constant(1.9875691500e-4f);
    p = Vec::fma(p, r, constant(1.3981999507e-3f));
    p = Vec::fma(p, r, constant(8.3334519073e-3f));
    p = Vec::fma(p, r, constant(4.1665795894e-2f));
    p = Vec::fma(p, r, constant(1.6666665459e-1f));
    p = Vec::fma(p, r, constant(5.0000001201e-1f));
    p = Vec::fma(p, r * r, r) + constant(1.0f);
    return p * Vec::power_of_two(shifted);
}

// x P(x^2) / Q(x^2) between -4 and 4, past which it rounds to 1. Exactly 1 there: what is multiplied by 1 + erf may be
// large. NaN passes.
inline Vec erf(Vec x) {
    x = Vec::max(constant(-4.0f), Vec::min(constant(4.0f), x));
    const Vec s = x * x;
    Vec p = constant(-2.72614225801306e-10f);
    p = Vec::fma(p, s, constant(2.77068142495902e-08f));
    p = Vec::fma(p, s, constant(-2.10102402082508e-06f));
    p = Vec::fma(p, s, constant(-5.69250639462346e-05f));
    p = Vec::fma(p, s, constant(-7.34990630326855e-04f));
    p = Vec::fma(p, s, constant(-2.95459980854025e-03f));
    p = Vec::fma(p, s, constant(-1.60960333262415e-02f));
    Vec q = constant(-1.45660718464996e-05f);
    q = Vec::fma(q, s, constant(-2.13374055278905e-04f));
    q = Vec::fma(q, s, constant(-1.68282697438203e-03f));
    q = Vec::fma(q, s, constant(-7.37332916720468e-03f));
    q = Vec::fma(q, s, constant(-1.42647390514189e-02f));
    return Vec::max(constant(-1.0f), Vec::min(constant(1.0f), x * p / q));
}

inline Vec sigmoid(Vec x) { return constant(1.0f) / (constant(1.0f) + exp(constant(0.0f) - x)); }

}  // namespace sovs::SOVS_ISA_NAMESPACE
