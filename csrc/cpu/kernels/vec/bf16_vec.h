// Vectors of bf16 numbers and of their sums, on ISAs that multiply pairs of them.
#pragma once
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#define SOVS_UNROLL _Pragma("GCC unroll 32")

namespace sovs::SOVS_ISA_NAMESPACE {

// Floats, two vectors for each one of bf16 numbers in the order in which interleave() leaves pairs.
struct Floats {
    __m512 v;
    static Floats all(float x) { return {_mm512_set1_ps(x)}; }
    static Floats load(const float* p) { return {_mm512_loadu_ps(p)}; }
    void store(float* p) const { _mm512_storeu_ps(p, v); }
    friend Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
    friend Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
    // The second operand where one is NaN.
    static Floats min(Floats a, Floats b) { return {_mm512_min_ps(a.v, b.v)}; }
    static Floats max(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; }
};

struct Halves {
    static constexpr int kCount = 32;
    __m512i v;

    static Halves load(const void* p) { return {_mm512_loadu_si512(p)}; }
    void store(void* p) const { _mm512_storeu_si512(p, v); }
    friend Halves operator&(Halves a, Halves b) { return {_mm512_and_si512(a.v, b.v)}; }
    // Two instructions use it; else GCC loads it for each of them again.
    static Halves held(const void* p) {
        Halves made = load(p);
        asm("" : "+v"(made.v));
        return made;
    }
    // Pairs of a number of each.
    static void interleave(Halves a, Halves b, Halves (&pairs)[2]) {
        pairs[0] = {_mm512_unpacklo_epi16(a.v, b.v)};
        pairs[1] = {_mm512_unpackhi_epi16(a.v, b.v)};
    }
    static Halves weights(const std::uint16_t* two) {
        std::int32_t bits;
        std::memcpy(&bits, two, sizeof bits);
        return {_mm512_set1_epi32(bits)};
    }
    static Floats dot(Floats sums, Halves pixels, Halves weights) {
        return {_mm512_dpbf16_ps(sums.v, reinterpret_cast<__m512bh>(pixels.v), reinterpret_cast<__m512bh>(weights.v))};
    }
    void widen(Floats (&made)[2]) const {
        const __m512i zero = _mm512_setzero_si512();
        made[0] = {_mm512_castsi512_ps(_mm512_unpacklo_epi16(zero, v))};
        made[1] = {_mm512_castsi512_ps(_mm512_unpackhi_epi16(zero, v))};
    }
    static Halves narrow(const Floats (&x)[2]) {
        const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
        const auto halves = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(x[1].v, x[0].v));
        return {_mm512_permutexvar_epi64(order, halves)};
    }
};

}  // namespace sovs::SOVS_ISA_NAMESPACE
