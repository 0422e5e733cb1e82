// From queries' masks and classes to one class for every pixel, without holding masks at the pixels.
#pragma once
#include <cstdint>
#include <vector>

#include "vision/decide_rows.h"

namespace sovs {

// What a head saw in a window of its encoder's input.
struct MaskWindow {
    std::int64_t top, left, h, w;  // pixels of the input
    std::int64_t queries, grid_h, grid_w;
    const float* logits;         // (queries, grid_h, grid_w): cells cover the window evenly
    const float* probabilities;  // (queries, classes)
};

// Where a sum over queries is taken of a class's probability times the mask's.
enum class MaskedAt {
    input,  // at the pixels of the input; sums are upsampled to the image, and averaged where windows overlap
    image,  // at the pixels of the image, to which logits are upsampled; one window alone
};

// Upsamples each mask's logits bilinearly (pixel centres aligned) to its window, and what of the input the image fills, its
// first input_h rows and input_w columns, to the image; takes the highest score of every pixel, the first class of equal
// ones. Where no window lies scores are 0. Left out are queries whose probabilities together change no score by more than
// kNegligible.
void decide_masks(const std::vector<MaskWindow>& windows, std::int64_t classes, std::int64_t input_h,
                  std::int64_t input_w, MaskedAt masked_at, const Decisions& to, int threads);

inline constexpr float kNegligible = 1e-6f;

}  // namespace sovs
