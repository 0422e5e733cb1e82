// GroupNorm of maps as NCHW, in place, with what a feature pyramid adds to it: a coarser map, upsampled, and a ReLU.
#pragma once
#include <cstdint>

namespace sovs {

struct GroupNormShape {
    std::int64_t n, c, h, w, groups;
    float eps;
};

// Added after the norm: (n, c, h, w) of another size, upsampled bilinearly; values is null for none.
struct CoarserMap {
    const float* values;
    std::int64_t h, w;
};

// gamma, beta: (c,).
void group_norm(const GroupNormShape& shape, float* x, const float* gamma, const float* beta, const CoarserMap& above,
                bool relu, int threads);

}  // namespace sovs
