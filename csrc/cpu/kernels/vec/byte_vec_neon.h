// Vectors of bytes and of their sums for Arm, with and without the dot products of ARMv8.2.
#pragma once
#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace sovs::SOVS_ISA_NAMESPACE {

struct Sums {
    int32x4_t v;
    static Sums all(std::int32_t x) { return {vdupq_n_s32(x)}; }
    static Sums held(std::int32_t x) {
        Sums made = all(x);
        asm("" : "+w"(made.v));
        return made;
    }
};

struct Floats {
    float32x4_t v;
    static Floats all(float x) { return {vdupq_n_f32(x)}; }
    static Floats of(Sums s) { return {vcvtq_f32_s32(s.v)}; }
    friend Floats operator*(Floats a, Floats b) { return {vmulq_f32(a.v, b.v)}; }
    friend Floats operator+(Floats a, Floats b) { return {vaddq_f32(a.v, b.v)}; }
    // The second operand where one is NaN.
    static Floats min(Floats a, Floats b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
    static Floats max(Floats a, Floats b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
    static constexpr int kCount = 4;
    static Floats load(const float* p) { return {vld1q_f32(p)}; }
    // From the order of sums to that of pixels, which is the same.
    static void sort(Floats (&)[4]) {}
    // Rounded half to even; of numbers from 0 to 255.
    void store(std::uint8_t* p) const {
        const uint16x4_t words = vqmovun_s32(vcvtnq_s32_f32(v));
        const uint8x8_t bytes = vqmovn_u16(vcombine_u16(words, words));
        vst1_lane_u32(reinterpret_cast<std::uint32_t*>(p), vreinterpret_u32_u8(bytes), 0);
    }
};

struct Bytes {
    static constexpr int kCount = 16;
    static constexpr bool kPairsIn16Bits = false;
    // Its products are of signed numbers: interleaved pixels are 128 less than they were.
    static constexpr int kPixelsLess = 128;
    uint8x16_t v;

    static Bytes load(const std::uint8_t* p) { return {vld1q_u8(p)}; }
    void store(std::uint8_t* p) const { vst1q_u8(p, v); }
    static Bytes all(std::uint8_t x) { return {vdupq_n_u8(x)}; }
    static Bytes held(const std::uint8_t* p) { return load(p); }
    // Quads of a byte of each, less kPixelsLess.
    static void interleave(Bytes a, Bytes b, Bytes c, Bytes d, Bytes (&quads)[4]) {
        const uint8x16_t sign = vdupq_n_u8(128);
        a.v = veorq_u8(a.v, sign), b.v = veorq_u8(b.v, sign), c.v = veorq_u8(c.v, sign), d.v = veorq_u8(d.v, sign);
        const uint16x8_t ab0 = vreinterpretq_u16_u8(vzip1q_u8(a.v, b.v)),
                         ab1 = vreinterpretq_u16_u8(vzip2q_u8(a.v, b.v));
        const uint16x8_t cd0 = vreinterpretq_u16_u8(vzip1q_u8(c.v, d.v)),
                         cd1 = vreinterpretq_u16_u8(vzip2q_u8(c.v, d.v));
        quads[0] = {vreinterpretq_u8_u16(vzip1q_u16(ab0, cd0))};
        quads[1] = {vreinterpretq_u8_u16(vzip2q_u16(ab0, cd0))};
        quads[2] = {vreinterpretq_u8_u16(vzip1q_u16(ab1, cd1))};
        quads[3] = {vreinterpretq_u8_u16(vzip2q_u16(ab1, cd1))};
    }
    static Bytes weights(const std::int8_t* four) {
        std::int32_t bits;
        std::memcpy(&bits, four, sizeof bits);
        return {vreinterpretq_u8_s32(vdupq_n_s32(bits))};
    }
    static Sums dot(Sums sums, Bytes pixels, Bytes weights) {
        const int8x16_t p = vreinterpretq_s8_u8(pixels.v), w = vreinterpretq_s8_u8(weights.v);
#if defined(SOVS_ISA_NEONDOT)
        return {vdotq_s32(sums.v, p, w)};
#else
        // Two products of -128 * -128 do not fit in 16 bits.
        const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(p), vget_low_s8(w)));
        const int32x4_t high = vpaddlq_s16(vmull_high_s8(p, w));
        return {vaddq_s32(sums.v, vpaddq_s32(low, high))};
#endif
    }
    // In the order of the sums, which is that of the pixels.
    void widen(Floats (&made)[4]) const {
        const uint16x8_t low = vmovl_u8(vget_low_u8(v)), high = vmovl_high_u8(v);
        made[0] = {vcvtq_f32_u32(vmovl_u16(vget_low_u16(low)))};
        made[1] = {vcvtq_f32_u32(vmovl_high_u16(low))};
        made[2] = {vcvtq_f32_u32(vmovl_u16(vget_low_u16(high)))};
        made[3] = {vcvtq_f32_u32(vmovl_high_u16(high))};
    }
    // Rounded half to even, from 0 to 255.
    static Bytes narrow(const Floats (&x)[4]) {
        const int16x8_t low = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(x[0].v)), vcvtnq_s32_f32(x[1].v));
        const int16x8_t high = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(x[2].v)), vcvtnq_s32_f32(x[3].v));
        return {vqmovun_high_s16(vqmovun_s16(low), high)};
    }
    // Every other byte: kCount / 2 each.
    void part(std::uint8_t* even, std::uint8_t* odd) const {
        vst1_u8(even, vget_low_u8(vuzp1q_u8(v, v)));
        vst1_u8(odd, vget_low_u8(vuzp2q_u8(v, v)));
    }
    static Bytes max(Bytes a, Bytes b) { return {vmaxq_u8(a.v, b.v)}; }
    // a where the mask's bits are set, else b.
    static Bytes blend(Bytes mask, Bytes a, Bytes b) { return {vbslq_u8(mask.v, a.v, b.v)}; }
};

}  // namespace sovs::SOVS_ISA_NAMESPACE
