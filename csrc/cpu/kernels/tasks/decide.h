// What an argmax over classes computes: the class of each pixel of a row.
#pragma once
#include <cstdint>

namespace sovs {

// One row of pixels between two rows of scores, which are as wide as it and whole vectors.
struct DecideTask {
    const float *upper, *lower;  // class 0's; `stride` floats between classes
    std::int64_t stride;
    float weight;  // of lower
    std::int64_t classes, pixels;
    bool logits;
    float *labels, *confidence;  // whole vectors; confidence may be null
    float* scores;               // class 0's probabilities at these pixels, or null
    std::int64_t score_stride;   // floats between classes
};

}  // namespace sovs
