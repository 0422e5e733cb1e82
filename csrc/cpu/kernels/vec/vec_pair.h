// A vector of twice the width, made of two: runs the kernels of a wide ISA on a CPU with a narrow one.
#pragma once
#include <cstdint>

namespace sovs::SOVS_ISA_NAMESPACE {

template <typename Half>
struct VecPair {
    static constexpr int kHalf = Half::kWidth, kWidth = 2 * kHalf;
    Half low, high;
    static VecPair zero() { return {Half::zero(), Half::zero()}; }
    static VecPair broadcast(const float* p) { return {Half::broadcast(p), Half::broadcast(p)}; }
    static VecPair broadcast_bits(int bits) { return {Half::broadcast_bits(bits), Half::broadcast_bits(bits)}; }
    static VecPair load(const float* p) { return {Half::load(p), Half::load(p + kHalf)}; }
    static VecPair load_first(const float* p, int n) {
        return {Half::load_first(p, in_low(n)), Half::load_first(p + kHalf, in_high(n))};
    }
    void store(float* p) const {
        low.store(p);
        high.store(p + kHalf);
    }
    void store_first(float* p, int n) const {
        low.store_first(p, in_low(n));
        high.store_first(p + kHalf, in_high(n));
    }
    friend VecPair operator+(VecPair a, VecPair b) { return {a.low + b.low, a.high + b.high}; }
    friend VecPair operator-(VecPair a, VecPair b) { return {a.low - b.low, a.high - b.high}; }
    friend VecPair operator*(VecPair a, VecPair b) { return {a.low * b.low, a.high * b.high}; }
    friend VecPair operator/(VecPair a, VecPair b) { return {a.low / b.low, a.high / b.high}; }
    static VecPair pair_sums(const float* p) { return {Half::pair_sums(p), Half::pair_sums(p + kWidth)}; }
    static void add_sums(VecPair a, VecPair b, VecPair c, VecPair d, float* to) {
        Half::add_sums(a.low + a.high, b.low + b.high, c.low + c.high, d.low + d.high, to);
    }
    static VecPair fma(VecPair a, VecPair b, VecPair c) {
        return {Half::fma(a.low, b.low, c.low), Half::fma(a.high, b.high, c.high)};
    }
    static VecPair sqrt(VecPair a) { return {Half::sqrt(a.low), Half::sqrt(a.high)}; }
    static VecPair max(VecPair a, VecPair b) { return {Half::max(a.low, b.low), Half::max(a.high, b.high)}; }
    static VecPair min(VecPair a, VecPair b) { return {Half::min(a.low, b.low), Half::min(a.high, b.high)}; }
    static VecPair where_greater(VecPair a, VecPair b, VecPair x, VecPair y) {
        return {Half::where_greater(a.low, b.low, x.low, y.low), Half::where_greater(a.high, b.high, x.high, y.high)};
    }
    static VecPair relu(VecPair a) { return {Half::relu(a.low), Half::relu(a.high)}; }
    static VecPair floor(VecPair a) { return {Half::floor(a.low), Half::floor(a.high)}; }
    void store_whole(std::int32_t* p) const {
        low.store_whole(p);
        high.store_whole(p + kHalf);
    }
    void store_bytes(std::uint8_t* p) const {
        low.store_bytes(p);
        high.store_bytes(p + kHalf);
    }
    static void split_pairs(VecPair& a, VecPair& b) {
        Half::split_pairs(a.low, a.high);
        Half::split_pairs(b.low, b.high);
        const Half odd = a.high;
        a.high = b.low;
        b.low = odd;
    }
    static VecPair power_of_two(VecPair n) { return {Half::power_of_two(n.low), Half::power_of_two(n.high)}; }

private:
    static int in_low(int n) { return n < kHalf ? n : kHalf; }
    static int in_high(int n) { return n < kHalf ? 0 : n - kHalf; }
};

}  // namespace sovs::SOVS_ISA_NAMESPACE
