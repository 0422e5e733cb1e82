// How the bf16 kernels leave a row: its sums become numbers of the output's map.
#pragma once
#include <cstddef>

#include "kernels/tasks/bf16_epilogue.h"
#include "kernels/vec/bf16_vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// A row's sums to its place in the map.
template <int kVectors>
inline void leave(const Bf16Epilogue& e, std::int64_t channel, Floats (&sums)[kVectors][2]) {
    const Floats least = Floats::all(e.least), most = Floats::all(e.most);
    SOVS_UNROLL
    for (int j = 0; j < kVectors; ++j) {
        const std::ptrdiff_t place = channel * e.stride + j * Halves::kCount;
        if (e.residual != nullptr) {
            Floats added[2];
            Halves::load(e.residual + place).widen(added);
            sums[j][0] = sums[j][0] + added[0];
            sums[j][1] = sums[j][1] + added[1];
        }
        SOVS_UNROLL
        for (int h = 0; h < 2; ++h) sums[j][h] = Floats::min(most, Floats::max(least, sums[j][h]));
        Halves::narrow(sums[j]).store(e.out + place);
    }
}

// The lines that a row some rows later reads and writes.
template <int kVectors>
inline void fetch(const Bf16Epilogue& e, std::int64_t channel, int rows) {
    for (int r = 0; r < rows; ++r)
        for (int j = 0; j < kVectors * Halves::kCount; j += Halves::kCount) {
            const std::ptrdiff_t place = (channel + r) * e.stride + j;
            if (e.residual != nullptr) __builtin_prefetch(e.residual + place, 0);
            __builtin_prefetch(e.out + place, 1);
        }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
