// One vector type per ISA with the few operations that the kernels need. Included once in each ISA's build.
#pragma once
#include <cstdint>
#include <cstring>

#include "kernels/vec/vec_pair.h"

// Of the int8 kernels, whose floats are these.
#if defined(SOVS_ISA_AVX512VNNI)
#define SOVS_ISA_AVX512
#elif defined(SOVS_ISA_AVX256VNNI)
#define SOVS_ISA_AVX2
#elif defined(SOVS_ISA_NEONDOT)
#define SOVS_ISA_NEON
#endif

// Builds at width 16: AVX-512, and the one for AVX2 that stands in for it in tests on machines without AVX-512.
#if defined(SOVS_ISA_AVX512) || defined(SOVS_ISA_AVX2X16)
#define SOVS_WIDTH_16
#endif

#if defined(SOVS_ISA_AVX2) || defined(SOVS_WIDTH_16)
#include <immintrin.h>
#elif defined(SOVS_ISA_NEON)
#include <arm_neon.h>
#endif

// Loops over vectors that shall stay in registers must vanish: an array that is indexed at run time lives in memory, and
// is spilled and reloaded around every use.
#define SOVS_UNROLL _Pragma("GCC unroll 16")

namespace sovs::SOVS_ISA_NAMESPACE {

#if defined(SOVS_ISA_AVX512)

struct Vec {
    static constexpr int kWidth = 16;
    __m512 v;
    static Vec zero() { return {_mm512_setzero_ps()}; }
    static Vec broadcast(const float* p) { return {_mm512_set1_ps(*p)}; }
    static Vec broadcast_bits(int bits) { return {_mm512_castsi512_ps(_mm512_set1_epi32(bits))}; }
    static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
    static Vec load_first(const float* p, int n) { return {_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p)}; }
    void store(float* p) const { _mm512_storeu_ps(p, v); }
    void store_first(float* p, int n) const { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v); }
    friend Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
    friend Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
    friend Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
    // p[0] + p[1], p[2] + p[3], ...: sums of the 2 * kWidth floats at p.
    static Vec pair_sums(const float* p) {
        const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
        const __m512 a = _mm512_loadu_ps(p), b = _mm512_loadu_ps(p + kWidth);
        return {_mm512_add_ps(_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b))};
    }
    // Adds the sum of each operand's lanes to one of the four floats at `to`.
    static void add_sums(Vec a, Vec b, Vec c, Vec d, float* to) {
        const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a.v, b.v), _mm512_unpackhi_ps(a.v, b.v));
        const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c.v, d.v), _mm512_unpackhi_ps(c.v, d.v));
        const __m512 all = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xEE));
        const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
        const __m128 sums = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
        _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), sums));
    }
    static Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
    friend Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
    static Vec sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
    // The second operand wins where one is NaN, so NaN passes through as in torch.
    static Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
    static Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
    // x where a > b, else y.
    static Vec where_greater(Vec a, Vec b, Vec x, Vec y) {
        return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ), y.v, x.v)};
    }
    static Vec relu(Vec a) { return max(zero(), a); }
    // floor and store_whole are for values in an int32's range; store_whole cuts off what follows the point.
    static Vec floor(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
    void store_whole(std::int32_t* p) const { _mm512_storeu_si512(p, _mm512_cvttps_epi32(v)); }
    // kWidth bytes: numbers from 0 to 255, rounded half to even.
    void store_bytes(std::uint8_t* p) const {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
    }
    // Lanes 0, 2, 4, ... of a and then of b to a, the others to b.
    static void split_pairs(Vec& a, Vec& b) {
        const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
        const __m512 evens = _mm512_permutex2var_ps(a.v, even, b.v);
        b.v = _mm512_permutex2var_ps(a.v, odd, b.v);
        a.v = evens;
    }
    // 2^n, where the low bits of a float hold the integer n.
    static Vec power_of_two(Vec n) {
        const __m512i bits = _mm512_slli_epi32(_mm512_castps_si512(n.v), 23);
        return {_mm512_castsi512_ps(_mm512_add_epi32(bits, _mm512_set1_epi32(0x3F800000)))};
    }
};

#elif defined(SOVS_ISA_AVX2) || defined(SOVS_ISA_AVX2X16)

struct Vec8 {
    static constexpr int kWidth = 8;
    __m256 v;
    static Vec8 zero() { return {_mm256_setzero_ps()}; }
    static Vec8 broadcast(const float* p) { return {_mm256_set1_ps(*p)}; }
    static Vec8 broadcast_bits(int bits) { return {_mm256_castsi256_ps(_mm256_set1_epi32(bits))}; }
    static Vec8 load(const float* p) { return {_mm256_loadu_ps(p)}; }
    static Vec8 load_first(const float* p, int n) { return {_mm256_maskload_ps(p, first(n))}; }
    void store(float* p) const { _mm256_storeu_ps(p, v); }
    void store_first(float* p, int n) const { _mm256_maskstore_ps(p, first(n), v); }
    friend Vec8 operator+(Vec8 a, Vec8 b) { return {_mm256_add_ps(a.v, b.v)}; }
    friend Vec8 operator-(Vec8 a, Vec8 b) { return {_mm256_sub_ps(a.v, b.v)}; }
    friend Vec8 operator*(Vec8 a, Vec8 b) { return {_mm256_mul_ps(a.v, b.v)}; }
    static Vec8 pair_sums(const float* p) {
        const __m256 sums = _mm256_hadd_ps(_mm256_loadu_ps(p), _mm256_loadu_ps(p + kWidth));
        // hadd works inside 128-bit halves: its quarters come out as 0, 2, 1, 3.
        return {_mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(sums), 0xD8))};
    }
    static void add_sums(Vec8 a, Vec8 b, Vec8 c, Vec8 d, float* to) {
        const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a.v, b.v), _mm256_unpackhi_ps(a.v, b.v));
        const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c.v, d.v), _mm256_unpackhi_ps(c.v, d.v));
        const __m256 all = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xEE));
        const __m128 sums = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
        _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), sums));
    }
    static Vec8 fma(Vec8 a, Vec8 b, Vec8 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
    friend Vec8 operator/(Vec8 a, Vec8 b) { return {_mm256_div_ps(a.v, b.v)}; }
    static Vec8 sqrt(Vec8 a) { return {_mm256_sqrt_ps(a.v)}; }
    // The second operand wins where one is NaN, so NaN passes through as in torch.
    static Vec8 max(Vec8 a, Vec8 b) { return {_mm256_max_ps(a.v, b.v)}; }
    static Vec8 min(Vec8 a, Vec8 b) { return {_mm256_min_ps(a.v, b.v)}; }
    static Vec8 where_greater(Vec8 a, Vec8 b, Vec8 x, Vec8 y) {
        return {_mm256_blendv_ps(y.v, x.v, _mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ))};
    }
    static Vec8 relu(Vec8 a) { return max(zero(), a); }
    static Vec8 floor(Vec8 a) { return {_mm256_floor_ps(a.v)}; }
    void store_whole(std::int32_t* p) const {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_cvttps_epi32(v));
    }
    void store_bytes(std::uint8_t* p) const {
        const __m256i numbers = _mm256_cvtps_epi32(v);
        const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
    }
    static void split_pairs(Vec8& a, Vec8& b) {
        // shuffle_ps works inside 128-bit halves, too.
        const auto in_order = [](__m256 x) {
            return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(x), 0xD8));
        };
        const __m256 evens = in_order(_mm256_shuffle_ps(a.v, b.v, 0x88));
        b.v = in_order(_mm256_shuffle_ps(a.v, b.v, 0xDD));
        a.v = evens;
    }
    static Vec8 power_of_two(Vec8 n) {
        const __m256i bits = _mm256_slli_epi32(_mm256_castps_si256(n.v), 23);
        return {_mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32(0x3F800000)))};
    }

private:
    static __m256i first(int n) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
};

#if defined(SOVS_ISA_AVX2)
using Vec = Vec8;
#else
using Vec = VecPair<Vec8>;
#endif

#elif defined(SOVS_ISA_NEON)

struct Vec {
    static constexpr int kWidth = 4;
    float32x4_t v;
    static Vec zero() { return {vdupq_n_f32(0.0f)}; }
    static Vec broadcast(const float* p) { return {vld1q_dup_f32(p)}; }
    static Vec load(const float* p) { return {vld1q_f32(p)}; }
    static Vec load_first(const float* p, int n) {
        float lanes[4] = {};
        std::memcpy(lanes, p, sizeof(float) * static_cast<unsigned>(n));
        return load(lanes);
    }
    void store(float* p) const { vst1q_f32(p, v); }
    void store_first(float* p, int n) const {
        float lanes[4];
        store(lanes);
        std::memcpy(p, lanes, sizeof(float) * static_cast<unsigned>(n));
    }
    friend Vec operator+(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
    friend Vec operator-(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
    friend Vec operator*(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
    static Vec pair_sums(const float* p) { return {vpaddq_f32(vld1q_f32(p), vld1q_f32(p + kWidth))}; }
    static void add_sums(Vec a, Vec b, Vec c, Vec d, float* to) {
        vst1q_f32(to, vaddq_f32(vld1q_f32(to), vpaddq_f32(vpaddq_f32(a.v, b.v), vpaddq_f32(c.v, d.v))));
    }
    static Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
    friend Vec operator/(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
    static Vec sqrt(Vec a) { return {vsqrtq_f32(a.v)}; }
    // FMAX and FMIN pass NaN through.
    static Vec max(Vec a, Vec b) { return {vmaxq_f32(a.v, b.v)}; }
    static Vec min(Vec a, Vec b) { return {vminq_f32(a.v, b.v)}; }
    static Vec where_greater(Vec a, Vec b, Vec x, Vec y) { return {vbslq_f32(vcgtq_f32(a.v, b.v), x.v, y.v)}; }
    static Vec relu(Vec a) { return max(zero(), a); }
    static Vec floor(Vec a) { return {vrndmq_f32(a.v)}; }
    void store_whole(std::int32_t* p) const { vst1q_s32(p, vcvtq_s32_f32(v)); }
    void store_bytes(std::uint8_t* p) const {
        const uint16x4_t words = vmovn_u32(vcvtnq_u32_f32(v));
        const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
        std::memcpy(p, &bytes, 4);
    }
    static void split_pairs(Vec& a, Vec& b) {
        const float32x4_t evens = vuzp1q_f32(a.v, b.v);
        b.v = vuzp2q_f32(a.v, b.v);
        a.v = evens;
    }
    static Vec power_of_two(Vec n) {
        const int32x4_t bits = vshlq_n_s32(vreinterpretq_s32_f32(n.v), 23);
        return {vreinterpretq_f32_s32(vaddq_s32(bits, vdupq_n_s32(0x3F800000)))};
    }
};

#else

// Four plain floats: any compiler for any CPU turns them into whatever it has.
struct Vec {
    static constexpr int kWidth = 4;
    float v[4];
    static Vec zero() { return {{0.0f, 0.0f, 0.0f, 0.0f}}; }
    static Vec broadcast(const float* p) { return {{*p, *p, *p, *p}}; }
    static Vec load(const float* p) { return load_first(p, 4); }
    static Vec load_first(const float* p, int n) {
        Vec r = zero();
        std::memcpy(r.v, p, sizeof(float) * static_cast<unsigned>(n));
        return r;
    }
    void store(float* p) const { store_first(p, 4); }
    void store_first(float* p, int n) const { std::memcpy(p, v, sizeof(float) * static_cast<unsigned>(n)); }
    friend Vec operator+(Vec a, Vec b) {
        for (int i = 0; i < 4; ++i) a.v[i] += b.v[i];
        return a;
    }
    friend Vec operator-(Vec a, Vec b) {
        for (int i = 0; i < 4; ++i) a.v[i] -= b.v[i];
        return a;
    }
    friend Vec operator*(Vec a, Vec b) {
        for (int i = 0; i < 4; ++i) a.v[i] *= b.v[i];
        return a;
    }
    static Vec pair_sums(const float* p) { return {{p[0] + p[1], p[2] + p[3], p[4] + p[5], p[6] + p[7]}}; }
    static void add_sums(Vec a, Vec b, Vec c, Vec d, float* to) {
        to[0] += (a.v[0] + a.v[1]) + (a.v[2] + a.v[3]);
        to[1] += (b.v[0] + b.v[1]) + (b.v[2] + b.v[3]);
        to[2] += (c.v[0] + c.v[1]) + (c.v[2] + c.v[3]);
        to[3] += (d.v[0] + d.v[1]) + (d.v[2] + d.v[3]);
    }
    static Vec fma(Vec a, Vec b, Vec c) {
        for (int i = 0; i < 4; ++i) c.v[i] += a.v[i] * b.v[i];
        return c;
    }
    friend Vec operator/(Vec a, Vec b) {
        for (int i = 0; i < 4; ++i) a.v[i] /= b.v[i];
        return a;
    }
    static Vec sqrt(Vec a) {
        for (float& x : a.v) x = __builtin_sqrtf(x);
        return a;
    }
    // NaN compares false: the second operand wins where one is NaN.
    static Vec max(Vec a, Vec b) {
        for (int i = 0; i < 4; ++i) b.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
        return b;
    }
    static Vec min(Vec a, Vec b) {
        for (int i = 0; i < 4; ++i) b.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
        return b;
    }
    static Vec where_greater(Vec a, Vec b, Vec x, Vec y) {
        for (int i = 0; i < 4; ++i) y.v[i] = a.v[i] > b.v[i] ? x.v[i] : y.v[i];
        return y;
    }
    static Vec relu(Vec a) {
        for (float& x : a.v) x = x < 0.0f ? 0.0f : x;  // NaN compares false and stays
        return a;
    }
    static Vec floor(Vec a) {
        for (float& x : a.v) {
            const auto cut = static_cast<float>(static_cast<std::int32_t>(x));
            x = cut - (x < cut ? 1.0f : 0.0f);
        }
        return a;
    }
    void store_whole(std::int32_t* p) const {
        for (int i = 0; i < 4; ++i) p[i] = static_cast<std::int32_t>(v[i]);
    }
    // Adding 1.5 * 2^23 leaves no bits after the point: the rounding of every float operation, half to even.
    void store_bytes(std::uint8_t* p) const {
        constexpr float kPoint = 12582912.0f;
        for (int i = 0; i < 4; ++i)
            p[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>((v[i] + kPoint) - kPoint));
    }
    static void split_pairs(Vec& a, Vec& b) {
        const Vec evens{{a.v[0], a.v[2], b.v[0], b.v[2]}};
        b = {{a.v[1], a.v[3], b.v[1], b.v[3]}};
        a = evens;
    }
    static Vec power_of_two(Vec n) {
        unsigned bits[4];
        std::memcpy(bits, n.v, sizeof(bits));
        for (unsigned& b : bits) b = (b << 23) + 0x3F800000u;
        std::memcpy(n.v, bits, sizeof(bits));
        return n;
    }
};

#endif

}  // namespace sovs::SOVS_ISA_NAMESPACE
