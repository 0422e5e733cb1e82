// What the kernel of masks computes: a row of pixels of all queries.
#pragma once
#include <cstdint>

namespace sovs {

// Pixels of queries' masks between two rows of logits: their probabilities, or the logits themselves.
struct MaskRowTask {
    const float *upper, *lower;  // query 0's; `stride` floats between queries; whole vectors
    std::int64_t stride;
    float weight;  // of lower
    std::int64_t queries, pixels;
    bool sigmoid;
    float* out;  // (queries, out_stride)
    std::int64_t out_stride;
};

}  // namespace sovs
