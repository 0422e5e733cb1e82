// What the int8 kernel of depthwise convolutions computes: one channel's taps of a window of u8 pixels.
#pragma once
#include <cstdint>

#include "kernels/tasks/byte_epilogue.h"

namespace sovs {

// Tap t of pixel p is line[shifts[t] + p] where masks[t * width + p] is 255, `zero` where it is 0.
struct ByteDepthwiseTask {
    const void* entries;  // ByteEntry<1>, whose lines are first + t
    std::int32_t count, first;
    const std::uint8_t* line;  // readable for the shifts plus whole vectors
    const std::int32_t* shifts;
    const std::uint8_t* masks;
    std::int32_t width, pixels;  // width: whole lines
    std::uint8_t zero;
    std::int32_t start;  // what sums start from
    std::int64_t channel;
    ByteEpilogue epilogue;  // of the first pixel
};

inline constexpr std::int32_t kMostDepthwiseEntries = 32;

}  // namespace sovs
