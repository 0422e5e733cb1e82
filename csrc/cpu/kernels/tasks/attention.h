// What the attention kernels compute: some queries of one head times a block of keys.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sovs {

// One head's attention of some queries to some keys, after earlier keys were attended to. Rows of query, sums, top,
// total and scores are `stride` floats apart and hold whole vectors.
struct AttendTask {
    const float* query;                       // (depth, queries)
    const float *key, *value;                 // key k of channel 0; keys side by side
    std::ptrdiff_t key_stride, value_stride;  // floats between channels
    std::int32_t depth, keys;                 // depth: channels of the head
    float scale;
    float* scores;  // (keys, queries): working memory
    std::ptrdiff_t stride;
    float *top, *total;  // (queries,): the largest score so far, and the sum of e^(score - top)
    float* sums;         // (depth, queries): sums of e^(score - top) * value
};

using AttendKernel = void (*)(const AttendTask&);

}  // namespace sovs
