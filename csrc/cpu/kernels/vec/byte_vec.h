// Vectors of bytes and of their sums, one pair for each ISA of the int8 kernels.
#pragma once
#include <cstdint>
#include <cstring>

#include "kernels/vec/vec.h"

#if defined(SOVS_ISA_NEON)
#include "kernels/vec/byte_vec_neon.h"
#endif

namespace sovs::SOVS_ISA_NAMESPACE {

// Sums lie in four vectors for each vector of pixels, in the order in which interleave() leaves quads; store() puts
// them back in the pixels' order.
#if defined(SOVS_ISA_AVX512VNNI)

struct Sums {
    __m512i v;
    static Sums all(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
    // In a register of its own: where several sums start from one, GCC spills them.
    static Sums held(std::int32_t x) {
        Sums made = all(x);
        asm("" : "+v"(made.v));
        return made;
    }
};

struct Floats {
    __m512 v;
    static Floats all(float x) { return {_mm512_set1_ps(x)}; }
    static Floats of(Sums s) { return {_mm512_cvtepi32_ps(s.v)}; }
    friend Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
    friend Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
    // The second operand where one is NaN.
    static Floats min(Floats a, Floats b) { return {_mm512_min_ps(a.v, b.v)}; }
    static Floats max(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; }
    static constexpr int kCount = 16;
    static Floats load(const float* p) { return {_mm512_loadu_ps(p)}; }
    // Numbers of one vector of pixels, from the order of sums to that of pixels.
    static void sort(Floats (&x)[4]) {
        const __m512 a = _mm512_shuffle_f32x4(x[0].v, x[1].v, 0x44), b = _mm512_shuffle_f32x4(x[0].v, x[1].v, 0xEE);
        const __m512 c = _mm512_shuffle_f32x4(x[2].v, x[3].v, 0x44), d = _mm512_shuffle_f32x4(x[2].v, x[3].v, 0xEE);
        x[0] = {_mm512_shuffle_f32x4(a, c, 0x88)};
        x[1] = {_mm512_shuffle_f32x4(a, c, 0xDD)};
        x[2] = {_mm512_shuffle_f32x4(b, d, 0x88)};
        x[3] = {_mm512_shuffle_f32x4(b, d, 0xDD)};
    }
    // Rounded half to even; of numbers from 0 to 255.
    void store(std::uint8_t* p) const {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
    }
};

struct Bytes {
    static constexpr int kCount = 64;
    static constexpr bool kPairsIn16Bits = false;
    static constexpr int kPixelsLess = 0;
    __m512i v;

    static Bytes load(const std::uint8_t* p) { return {_mm512_loadu_si512(p)}; }
    void store(std::uint8_t* p) const { _mm512_storeu_si512(p, v); }
    static Bytes all(std::uint8_t x) { return {_mm512_set1_epi8(static_cast<char>(x))}; }
    // Two instructions use it; else GCC loads it for each of them again.
    static Bytes held(const std::uint8_t* p) {
        Bytes made = load(p);
        asm("" : "+v"(made.v));
        return made;
    }
    // Quads of a byte of each.
    static void interleave(Bytes a, Bytes b, Bytes c, Bytes d, Bytes (&quads)[4]) {
        const __m512i ab0 = _mm512_unpacklo_epi8(a.v, b.v), ab1 = _mm512_unpackhi_epi8(a.v, b.v);
        const __m512i cd0 = _mm512_unpacklo_epi8(c.v, d.v), cd1 = _mm512_unpackhi_epi8(c.v, d.v);
        quads[0] = {_mm512_unpacklo_epi16(ab0, cd0)};
        quads[1] = {_mm512_unpackhi_epi16(ab0, cd0)};
        quads[2] = {_mm512_unpacklo_epi16(ab1, cd1)};
        quads[3] = {_mm512_unpackhi_epi16(ab1, cd1)};
    }
    static Bytes weights(const std::int8_t* four) {
        std::int32_t bits;
        std::memcpy(&bits, four, sizeof bits);
        return {_mm512_set1_epi32(bits)};
    }
    static Sums dot(Sums sums, Bytes pixels, Bytes weights) {
        return {_mm512_dpbusd_epi32(sums.v, pixels.v, weights.v)};
    }
    // In the order of the sums.
    void widen(Floats (&made)[4]) const {
        const __m512i zero = _mm512_setzero_si512();
        const __m512i low = _mm512_unpacklo_epi8(v, zero), high = _mm512_unpackhi_epi8(v, zero);
        made[0] = {_mm512_cvtepi32_ps(_mm512_unpacklo_epi16(low, zero))};
        made[1] = {_mm512_cvtepi32_ps(_mm512_unpackhi_epi16(low, zero))};
        made[2] = {_mm512_cvtepi32_ps(_mm512_unpacklo_epi16(high, zero))};
        made[3] = {_mm512_cvtepi32_ps(_mm512_unpackhi_epi16(high, zero))};
    }
    // Rounded half to even, from 0 to 255; of numbers up to 2^31 - 1.
    static Bytes narrow(const Floats (&x)[4]) {
        const __m512i a = _mm512_cvtps_epi32(x[0].v), b = _mm512_cvtps_epi32(x[1].v);
        const __m512i c = _mm512_cvtps_epi32(x[2].v), d = _mm512_cvtps_epi32(x[3].v);
        return {_mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d))};
    }
    // Every other byte: kCount / 2 each.
    void part(std::uint8_t* even, std::uint8_t* odd) const {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(even), _mm512_cvtepi16_epi8(v));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(odd), _mm512_cvtepi16_epi8(_mm512_srli_epi16(v, 8)));
    }
    static Bytes max(Bytes a, Bytes b) { return {_mm512_max_epu8(a.v, b.v)}; }
    // a where the mask's bits are set, else b.
    static Bytes blend(Bytes mask, Bytes a, Bytes b) { return {_mm512_ternarylogic_epi32(mask.v, a.v, b.v, 0xCA)}; }
};

#elif defined(SOVS_ISA_AVX2)  // and AVX256VNNI

struct Sums {
    __m256i v;
    static Sums all(std::int32_t x) { return {_mm256_set1_epi32(x)}; }
    static Sums held(std::int32_t x) {
        Sums made = all(x);
        asm("" : "+x"(made.v));
        return made;
    }
};

struct Floats {
    __m256 v;
    static Floats all(float x) { return {_mm256_set1_ps(x)}; }
    static Floats of(Sums s) { return {_mm256_cvtepi32_ps(s.v)}; }
    friend Floats operator*(Floats a, Floats b) { return {_mm256_mul_ps(a.v, b.v)}; }
    friend Floats operator+(Floats a, Floats b) { return {_mm256_add_ps(a.v, b.v)}; }
    static Floats min(Floats a, Floats b) { return {_mm256_min_ps(a.v, b.v)}; }
    static Floats max(Floats a, Floats b) { return {_mm256_max_ps(a.v, b.v)}; }
    static constexpr int kCount = 8;
    static Floats load(const float* p) { return {_mm256_loadu_ps(p)}; }
    static void sort(Floats (&x)[4]) {
        const __m256 a = x[0].v, b = x[1].v, c = x[2].v, d = x[3].v;
        x[0] = {_mm256_permute2f128_ps(a, b, 0x20)};
        x[1] = {_mm256_permute2f128_ps(c, d, 0x20)};
        x[2] = {_mm256_permute2f128_ps(a, b, 0x31)};
        x[3] = {_mm256_permute2f128_ps(c, d, 0x31)};
    }
    void store(std::uint8_t* p) const {
        const __m256i numbers = _mm256_cvtps_epi32(v);
        const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
    }
};

struct Bytes {
    static constexpr int kCount = 32;
    static constexpr int kPixelsLess = 0;
    __m256i v;

    static Bytes load(const std::uint8_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
    void store(std::uint8_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
    static Bytes all(std::uint8_t x) { return {_mm256_set1_epi8(static_cast<char>(x))}; }
    static Bytes held(const std::uint8_t* p) {
        Bytes made = load(p);
        asm("" : "+x"(made.v));
        return made;
    }
    static void interleave(Bytes a, Bytes b, Bytes c, Bytes d, Bytes (&quads)[4]) {
        const __m256i ab0 = _mm256_unpacklo_epi8(a.v, b.v), ab1 = _mm256_unpackhi_epi8(a.v, b.v);
        const __m256i cd0 = _mm256_unpacklo_epi8(c.v, d.v), cd1 = _mm256_unpackhi_epi8(c.v, d.v);
        quads[0] = {_mm256_unpacklo_epi16(ab0, cd0)};
        quads[1] = {_mm256_unpackhi_epi16(ab0, cd0)};
        quads[2] = {_mm256_unpacklo_epi16(ab1, cd1)};
        quads[3] = {_mm256_unpackhi_epi16(ab1, cd1)};
    }
    static Bytes weights(const std::int8_t* four) {
        std::int32_t bits;
        std::memcpy(&bits, four, sizeof bits);
        return {_mm256_set1_epi32(bits)};
    }
#if defined(SOVS_ISA_AVX256VNNI)
    static constexpr bool kPairsIn16Bits = false;
    static Sums dot(Sums sums, Bytes pixels, Bytes weights) {
        return {_mm256_dpbusd_epi32(sums.v, pixels.v, weights.v)};
    }
#else
    static constexpr bool kPairsIn16Bits = true;
    // Exact where no pair of weights adds up to more than 128: vpmaddubsw saturates at 16 bits.
    static Sums dot(Sums sums, Bytes pixels, Bytes weights) {
        const __m256i pairs = _mm256_maddubs_epi16(pixels.v, weights.v);
        return {_mm256_add_epi32(sums.v, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))};
    }
#endif
    void widen(Floats (&made)[4]) const {
        const __m256i zero = _mm256_setzero_si256();
        const __m256i low = _mm256_unpacklo_epi8(v, zero), high = _mm256_unpackhi_epi8(v, zero);
        made[0] = {_mm256_cvtepi32_ps(_mm256_unpacklo_epi16(low, zero))};
        made[1] = {_mm256_cvtepi32_ps(_mm256_unpackhi_epi16(low, zero))};
        made[2] = {_mm256_cvtepi32_ps(_mm256_unpacklo_epi16(high, zero))};
        made[3] = {_mm256_cvtepi32_ps(_mm256_unpackhi_epi16(high, zero))};
    }
    static Bytes narrow(const Floats (&x)[4]) {
        const __m256i a = _mm256_cvtps_epi32(x[0].v), b = _mm256_cvtps_epi32(x[1].v);
        const __m256i c = _mm256_cvtps_epi32(x[2].v), d = _mm256_cvtps_epi32(x[3].v);
        return {_mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d))};
    }
    void part(std::uint8_t* even, std::uint8_t* odd) const {
        const __m256i first = _mm256_and_si256(v, _mm256_set1_epi16(255)), second = _mm256_srli_epi16(v, 8);
        const __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi16(first, second), 0xD8);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(even), _mm256_castsi256_si128(both));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(odd), _mm256_extracti128_si256(both, 1));
    }
    static Bytes max(Bytes a, Bytes b) { return {_mm256_max_epu8(a.v, b.v)}; }
    static Bytes blend(Bytes mask, Bytes a, Bytes b) { return {_mm256_blendv_epi8(b.v, a.v, mask.v)}; }
};

#elif !defined(SOVS_ISA_NEON)

struct Sums {
    std::int32_t v[4];
    static Sums all(std::int32_t x) { return {{x, x, x, x}}; }
    static Sums held(std::int32_t x) { return all(x); }
};

struct Floats {
    float v[4];
    static Floats all(float x) { return {{x, x, x, x}}; }
    static Floats of(Sums s) {
        Floats made;
        for (int i = 0; i < 4; ++i) made.v[i] = static_cast<float>(s.v[i]);
        return made;
    }
    friend Floats operator*(Floats a, Floats b) {
        for (int i = 0; i < 4; ++i) a.v[i] *= b.v[i];
        return a;
    }
    friend Floats operator+(Floats a, Floats b) {
        for (int i = 0; i < 4; ++i) a.v[i] += b.v[i];
        return a;
    }
    static Floats min(Floats a, Floats b) {
        for (int i = 0; i < 4; ++i) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
        return a;
    }
    static Floats max(Floats a, Floats b) {
        for (int i = 0; i < 4; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
        return a;
    }
    static constexpr int kCount = 4;
    static Floats load(const float* p) { return {{p[0], p[1], p[2], p[3]}}; }
    static void sort(Floats (&)[4]) {}
    // Adding 1.5 * 2^23 leaves no bits after the point: the rounding of every float operation, half to even.
    void store(std::uint8_t* p) const {
        constexpr float kPoint = 12582912.0f;
        for (int i = 0; i < 4; ++i)
            p[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>((v[i] + kPoint) - kPoint));
    }
};

struct Bytes {
    static constexpr int kCount = 16;
    static constexpr bool kPairsIn16Bits = false;
    static constexpr int kPixelsLess = 0;
    std::uint8_t v[16];

    static Bytes load(const std::uint8_t* p) {
        Bytes made;
        std::memcpy(made.v, p, sizeof made.v);
        return made;
    }
    static Bytes held(const std::uint8_t* p) { return load(p); }
    void store(std::uint8_t* p) const { std::memcpy(p, v, sizeof v); }
    static Bytes all(std::uint8_t x) {
        Bytes made;
        std::memset(made.v, x, sizeof made.v);
        return made;
    }
    static void interleave(Bytes a, Bytes b, Bytes c, Bytes d, Bytes (&quads)[4]) {
        for (int i = 0; i < 16; ++i) {
            std::uint8_t* quad = quads[i / 4].v + i % 4 * 4;
            quad[0] = a.v[i];
            quad[1] = b.v[i];
            quad[2] = c.v[i];
            quad[3] = d.v[i];
        }
    }
    static Bytes weights(const std::int8_t* four) {
        Bytes made;
        for (int i = 0; i < 16; ++i) made.v[i] = static_cast<std::uint8_t>(four[i % 4]);
        return made;
    }
    static Sums dot(Sums sums, Bytes pixels, Bytes weights) {
        // Sums wrap around on their way, as those of vectors do.
        for (int i = 0; i < 16; ++i) {
            const int product = pixels.v[i] * static_cast<std::int8_t>(weights.v[i]);
            sums.v[i / 4] = static_cast<std::int32_t>(static_cast<std::uint32_t>(sums.v[i / 4]) +
                                                      static_cast<std::uint32_t>(product));
        }
        return sums;
    }
    void widen(Floats (&made)[4]) const {
        for (int i = 0; i < 16; ++i) made[i / 4].v[i % 4] = static_cast<float>(v[i]);
    }
    static Bytes narrow(const Floats (&x)[4]) {
        Bytes made;
        for (int q = 0; q < 4; ++q)
            Floats::min(Floats::max(x[q], Floats::all(0.0f)), Floats::all(255.0f)).store(made.v + 4 * q);
        return made;
    }
    void part(std::uint8_t* even, std::uint8_t* odd) const {
        for (int i = 0; i < 8; ++i) {
            even[i] = v[2 * i];
            odd[i] = v[2 * i + 1];
        }
    }
    static Bytes max(Bytes a, Bytes b) {
        for (int i = 0; i < 16; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
        return a;
    }
    static Bytes blend(Bytes mask, Bytes a, Bytes b) {
        for (int i = 0; i < 16; ++i) a.v[i] = static_cast<std::uint8_t>((a.v[i] & mask.v[i]) | (b.v[i] & ~mask.v[i]));
        return a;
    }
};

#endif

}  // namespace sovs::SOVS_ISA_NAMESPACE
