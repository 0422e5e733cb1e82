// From scores of classes on a coarse grid to one class for every pixel, without holding all scores at the pixels.
#pragma once
#include <cstdint>

#include "vision/decide_rows.h"

namespace sovs {

struct ScoreGrid {
    std::int64_t classes, h, w;
    const float* scores;          // (classes, h, w)
    double covered_h, covered_w;  // rows and columns that the image lies over, from the first on
};

// Upsamples (or shrinks) each class's grid bilinearly, pixel centres aligned, and takes the argmax over classes of every
// pixel, the first class of equal ones. With `logits`, probabilities are the softmax of the upsampled scores; otherwise the
// scores themselves.
void decide(const ScoreGrid& grid, bool logits, const Decisions& to, int threads);

}  // namespace sovs
