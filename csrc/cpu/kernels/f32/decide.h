// Scores between two rows of a grid: the best class of each pixel, and probabilities.
#pragma once
#include <cstdint>

#include "kernels/tasks/decide.h"
#include "kernels/vec/vec_math.h"

namespace sovs::SOVS_ISA_NAMESPACE {

inline void upsample_row(const float* row, const std::int32_t* first, const std::int32_t* second, const float* weight,
                         std::int64_t pixels, float* out) {
    for (std::int64_t i = 0; i < pixels; ++i) {
        const float a = row[first[i]];
        out[i] = a + weight[i] * (row[second[i]] - a);
    }
}

// The value of class k at the vector of pixels from i on.
inline Vec between(const DecideTask& t, std::int64_t k, std::int64_t i) {
    const Vec a = Vec::load(t.upper + k * t.stride + i);
    return Vec::fma(constant(t.weight), Vec::load(t.lower + k * t.stride + i) - a, a);
}

inline void decide_row(const DecideTask& t) {
    constexpr int W = Vec::kWidth;
    for (std::int64_t i = 0; i < t.pixels; i += W) {
        Vec best = between(t, 0, i), label = Vec::zero();
        for (std::int64_t k = 1; k < t.classes; ++k) {
            const Vec value = between(t, k, i);
            label = Vec::where_greater(value, best, constant(static_cast<float>(k)), label);
            best = Vec::where_greater(value, best, value, best);
        }
        label.store(t.labels + i);
        if (t.confidence == nullptr && t.scores == nullptr) continue;
        const int count = static_cast<int>(t.pixels - i < W ? t.pixels - i : W);
        if (t.logits) {
            Vec total = Vec::zero();
            for (std::int64_t k = 0; k < t.classes; ++k) total = total + exp(between(t, k, i) - best);
            const Vec part = constant(1.0f) / total;
            if (t.confidence != nullptr) part.store(t.confidence + i);
            if (t.scores != nullptr)
                for (std::int64_t k = 0; k < t.classes; ++k)
                    (exp(between(t, k, i) - best) * part).store_first(t.scores + k * t.score_stride + i, count);
        } else {
            if (t.confidence != nullptr) best.store(t.confidence + i);
            if (t.scores != nullptr)
                for (std::int64_t k = 0; k < t.classes; ++k)
                    between(t, k, i).store_first(t.scores + k * t.score_stride + i, count);
        }
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
