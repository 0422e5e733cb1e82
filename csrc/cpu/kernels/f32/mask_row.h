// Masks between two rows of their logits.
#pragma once
#include "kernels/tasks/mask_row.h"
#include "kernels/vec/vec_math.h"

namespace sovs::SOVS_ISA_NAMESPACE {

inline void mask_row(const MaskRowTask& t) {
    const Vec weight = constant(t.weight);
    for (std::int64_t q = 0; q < t.queries; ++q) {
        const float *upper = t.upper + q * t.stride, *lower = t.lower + q * t.stride;
        float* out = t.out + q * t.out_stride;
        for (std::int64_t i = 0; i < t.pixels; i += Vec::kWidth) {
            const Vec a = Vec::load(upper + i);
            const Vec logit = Vec::fma(weight, Vec::load(lower + i) - a, a);
            (t.sigmoid ? sigmoid(logit) : logit).store(out + i);
        }
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
