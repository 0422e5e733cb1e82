// How the int8 kernels leave rows: their sums become numbers of the output's map.
#pragma once
#include <cstddef>

#include "base/byte_line.h"
#include "kernels/f32/activation.h"
#include "kernels/tasks/byte_epilogue.h"
#include "kernels/u8s8/byte_gelu.h"
#include "kernels/vec/byte_vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// A row's sums to its place in a map of bytes whose activation is a maximum.
template <int kVectors>
inline void leave(const ByteEpilogue& e, std::int64_t channel, const Sums (&sums)[kVectors][4]) {
    const Floats scale = Floats::all(e.scale[channel]), offset = Floats::all(e.offset[channel]);
    const Floats residual_scale = Floats::all(e.residual_scale), most = Floats::all(e.most);
    const Bytes least = Bytes::all(e.least);
    SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) {
        const std::ptrdiff_t place = channel * e.stride + j * Bytes::kCount;
        Floats x[4];
        SOVS_UNROLL
        for (int q = 0; q < 4; ++q) x[q] = Floats::of(sums[j][q]) * scale + offset;
        if (e.residual != nullptr) {
            Floats added[4];
            Bytes::load(e.residual + place).widen(added);
            SOVS_UNROLL
            for (int q = 0; q < 4; ++q) x[q] = x[q] + added[q] * residual_scale;
        }
        SOVS_UNROLL
        for (int q = 0; q < 4; ++q) x[q] = Floats::min(x[q], most);
        Bytes::max(Bytes::narrow(x), least).store(e.out + place);
    }
}

// The same numbers as the type that the fp32 kernels compute with.
inline Vec as_vec(Floats x) { return __builtin_bit_cast(Vec, x); }
inline Floats as_floats(Vec x) { return __builtin_bit_cast(Floats, x); }

// Of 4 * Floats::kCount pixels of a channel, in the order of sums.
template <typename Function>
inline void leave_floats(const ByteEpilogue& e, std::ptrdiff_t place, Floats (&x)[4], Function function) {
    Floats::sort(x);
    SOVS_UNROLL
    for (int q = 0; q < 4; ++q) {
        const std::ptrdiff_t at = place + q * Floats::kCount;
        if (e.float_residual != nullptr) x[q] = x[q] + Floats::load(e.float_residual + at);
        function(as_vec(x[q])).store(e.floats + at);
    }
}

template <typename Function>
inline void leave_bytes(const ByteEpilogue& e, std::ptrdiff_t place, Floats (&x)[4], Function function) {
    if (e.residual != nullptr) {
        Floats added[4];
        Bytes::load(e.residual + place).widen(added);
        SOVS_UNROLL
        for (int q = 0; q < 4; ++q) x[q] = x[q] + added[q] * Floats::all(e.residual_scale);
    }
    const Vec inverse = constant(e.inverse_scale), zero_point = constant(e.zero_point), most = constant(255.0f);
    SOVS_UNROLL
    for (int q = 0; q < 4; ++q) x[q] = as_floats(Vec::min(Vec::fma(function(as_vec(x[q])), inverse, zero_point), most));
    Bytes::narrow(x).store(e.out + place);
}

// `function` of floats, `rough` of what becomes bytes.
template <typename Function, typename Rough>
inline void leave_activated(const ByteEpilogue& e, std::int64_t channel, int rows, int vectors, const Sums* sums,
                            Function function, Rough rough) {
    for (const std::int64_t end = channel + rows; channel < end; ++channel) {
        const Floats scale = Floats::all(e.scale[channel]), offset = Floats::all(e.offset[channel]);
        for (int j = 0; j < vectors; ++j, sums += 4) {
            const std::ptrdiff_t place = channel * e.stride + j * Bytes::kCount;
            Floats x[4];
            SOVS_UNROLL
            for (int q = 0; q < 4; ++q) x[q] = Floats::of(sums[q]) * scale + offset;
            if (e.floats != nullptr)
                leave_floats(e, place, x, function);
            else
                leave_bytes(e, place, x, rough);
        }
    }
}

// Of rows whose epilogue is not plain. sums: (rows, vectors, 4).
[[gnu::noinline]] inline void leave_rest(const ByteEpilogue& e, std::int64_t channel, int rows, int vectors,
                                         const Sums* sums) {
    const auto leave_as = [&](auto function, auto rough) {
        leave_activated(e, channel, rows, vectors, sums, function, rough);
    };
    const auto same = [](Vec x) { return x; };
    switch (e.activation) {
        case Activation::none: return leave_as(same, same);
        case Activation::relu: return leave_as([](Vec x) { return Vec::relu(x); }, same);
        case Activation::gelu: return leave_as([](Vec x) { return gelu(x); }, [](Vec x) { return byte_gelu(x); });
        case Activation::gelu_tanh:
            return leave_as([](Vec x) { return gelu_tanh(x); }, [](Vec x) { return byte_gelu_tanh(x); });
        case Activation::quick_gelu:
            return leave_as([](Vec x) { return quick_gelu(x); }, [](Vec x) { return byte_quick_gelu(x); });
        case Activation::relu6: return leave_as([](Vec x) { return relu6(x); }, same);
    }
}

// Rows' sums to their places in the map, but for those past the layer's `channels`. Kernels are built for plain epilogues and
// for others: a call that might come keeps sums out of registers.
template <bool kPlain, int kRows, int kVectors>
inline void leave_rows(const ByteEpilogue& e, std::int64_t channel, std::int64_t channels,
                       const Sums (&sums)[kRows][kVectors][4]) {
    if constexpr (kPlain) {
        SOVS_UNROLL
        for (int r = 0; r < kRows; ++r)
            if (channel + r < channels) leave<kVectors>(e, channel + r, sums[r]);
        return;
    }
    // In memory: a call takes the registers of all sums.
    Sums kept[kRows * kVectors * 4];
    SOVS_UNROLL
    for (int r = 0; r < kRows; ++r) SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) SOVS_UNROLL
    for (int q = 0; q < 4; ++q) kept[(r * kVectors + j) * 4 + q] = sums[r][j][q];
    const auto rows = static_cast<int>(channels - channel < kRows ? channels - channel : kRows);
    leave_rest(e, channel, rows, kVectors, kept);
}

// The lines that a row some rows later reads and writes.
template <bool kPlain, int kVectors>
inline void fetch(const ByteEpilogue& e, std::int64_t channel, int rows) {
    if (!kPlain && e.floats != nullptr) {
        constexpr int kLineFloats = kByteLine / static_cast<int>(sizeof(float));
        for (int r = 0; r < rows; ++r)
            for (int j = 0; j < kVectors * Bytes::kCount; j += kLineFloats) {
                const std::ptrdiff_t place = (channel + r) * e.stride + j;
                if (e.float_residual != nullptr) __builtin_prefetch(e.float_residual + place, 0);
                __builtin_prefetch(e.floats + place, 1);
            }
        return;
    }
    for (int r = 0; r < rows; ++r)
        for (int j = 0; j < kVectors * Bytes::kCount; j += kByteLine) {
            const std::ptrdiff_t place = (channel + r) * e.stride + j;
            if (e.residual != nullptr) __builtin_prefetch(e.residual + place, 0);
            __builtin_prefetch(e.out + place, 1);
        }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
