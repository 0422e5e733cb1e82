// How the int8 kernels leave a row: its sums become bytes of the output's map.
#pragma once
#include <cstddef>

#include "base/byte_line.h"
#include "kernels/tasks/byte_epilogue.h"
#include "kernels/vec/byte_vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// A row's sums to its place in the map.
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

// The lines that a row some rows later reads and writes.
template <int kVectors>
inline void fetch(const ByteEpilogue& e, std::int64_t channel, int rows) {
    for (int r = 0; r < rows; ++r)
        for (int j = 0; j < kVectors * Bytes::kCount; j += kByteLine) {
            const std::ptrdiff_t place = (channel + r) * e.stride + j;
            if (e.residual != nullptr) __builtin_prefetch(e.residual + place, 0);
            __builtin_prefetch(e.out + place, 1);
        }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
