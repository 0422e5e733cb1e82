// Multi-scale deformable attention (Zhu et al., Deformable DETR, arXiv 2010.04159, equation 3) over fp32 maps.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/tasks/deformable.h"

namespace sovs {

struct DeformableSizes {
    std::int64_t n, queries, heads, depth, points;  // depth: channels of a head; points: in each level
    std::vector<DeformableLevel> levels;
};

// From (levels, 2): height and width.
std::vector<DeformableLevel> deformable_levels(const std::int64_t* shapes, std::size_t count);

// values: (n, cells, heads, depth); locations: (n, queries, heads, levels, points, 2); weights: the same without the last;
// out: (n, queries, heads, depth).
void deformable_attention(const DeformableSizes& sizes, const float* values, const float* locations,
                          const float* weights, float* out, int threads);

// The same at locations = references + offsets / a map's size with weights = softmax(logits), as DeformableTask says.
struct DeformablePlaces {
    const float* references;  // (n or 1, queries, levels, 2)
    bool shared;              // whether all images have the same references
    const float* offsets;     // as the locations
    const float* logits;      // as the weights
};
void deformable_attention(const DeformableSizes& sizes, const float* values, const DeformablePlaces& places, float* out,
                          int threads);

}  // namespace sovs
