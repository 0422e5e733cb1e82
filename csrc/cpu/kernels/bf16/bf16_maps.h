// The bf16 kernels beside those of convolutions: types of numbers, averages.
#pragma once
#include "kernels/vec/bf16_vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

inline void narrow(std::uint16_t* to, const float* from, std::int64_t count) {
    for (std::int64_t i = 0; i < count; i += 16) {
        const std::int64_t left = count - i < 16 ? count - i : 16;
        const auto mask = static_cast<__mmask16>((1u << left) - 1);
        const __m256bh halves = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from + i));
        _mm256_mask_storeu_epi16(to + i, mask, reinterpret_cast<__m256i>(halves));
    }
}

inline void widen(float* to, const std::uint16_t* from, std::int64_t count) {
    for (std::int64_t i = 0; i < count; i += 16) {
        const std::int64_t left = count - i < 16 ? count - i : 16;
        const auto mask = static_cast<__mmask16>((1u << left) - 1);
        const __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from + i));
        _mm512_mask_storeu_ps(to + i, mask, _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16)));
    }
}

inline void bf16_pool_row(std::uint16_t* out, const std::uint16_t* upper, const std::uint16_t* lower,
                          std::int64_t pixels) {
    const auto sum = [](__m512i row) {  // of the two numbers in each lane
        const __m512i odd = _mm512_and_si512(row, _mm512_set1_epi32(static_cast<int>(0xFFFF0000u)));
        return _mm512_add_ps(_mm512_castsi512_ps(_mm512_slli_epi32(row, 16)), _mm512_castsi512_ps(odd));
    };
    for (std::int64_t x = 0; x < pixels; x += 16) {
        const std::int64_t left = pixels - x < 16 ? pixels - x : 16;
        const auto mask = static_cast<__mmask16>((1u << left) - 1);
        const __m512 sums = _mm512_add_ps(sum(_mm512_maskz_loadu_epi32(mask, upper + 2 * x)),
                                          sum(_mm512_maskz_loadu_epi32(mask, lower + 2 * x)));
        const __m256bh halves = _mm512_cvtneps_pbh(_mm512_mul_ps(sums, _mm512_set1_ps(0.25f)));
        _mm256_mask_storeu_epi16(out + x, mask, reinterpret_cast<__m256i>(halves));
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
