// From scores of classes on a coarse grid to one class for every pixel, without holding all scores at the pixels.
#pragma once
#include <cstdint>

namespace sovs {

struct DecideShape {
    std::int64_t classes, grid_h, grid_w, h, w;
};

// Enlarges (or shrinks) each class's grid bilinearly, pixel centres aligned, and takes the highest score of every pixel,
// the first class of equal ones. With `logits`, probabilities are the softmax of the enlarged scores; otherwise the scores
// themselves.
//   grid: (classes, grid_h, grid_w). labels: (h, w). confidence: (h, w), the probability of the label, or null.
//   scores: (classes, h, w), all probabilities, or null.
void decide(const DecideShape& shape, const float* grid, bool logits, std::int64_t* labels, float* confidence,
            float* scores, int threads);

}  // namespace sovs
