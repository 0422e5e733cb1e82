// What the int8 kernels beside those of rows compute: panels, types of numbers, averages.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sovs {

// The columns of one channel, for each t of `columns`: panel[t * pixels + p] = line[shifts[t] + p] where masks[t * pixels + p]
// is 255, `zero` where it is 0.
struct TapsTask {
    const std::uint8_t* line;  // readable for the shifts plus `pixels`
    const std::int32_t *columns, *shifts;
    const std::uint8_t* masks;
    std::int32_t column_count, pixels;  // pixels: whole lines
    std::uint8_t zero;
    std::uint8_t* panel;
};

// Rows of one channel by their phases: pixel x of row y goes to phase y % stride_h * stride_w + x % stride_w, of which it is
// number y / stride_h * (width / stride_w) + x / stride_w. width: whole strides. 64 bytes behind each phase are lost.
struct PhasesTask {
    const std::uint8_t* line;  // (rows, width) numbers, and 64 bytes more to read
    std::int32_t rows, width, stride_h, stride_w;
    std::uint8_t* phases;
    std::ptrdiff_t phase_bytes;
};

// Pixels of a window that lie in one row, in bytes.
struct ByteRun {
    std::int32_t lane, count;
};

// The columns of one channel where taps jump or the map is padded away from them. First every row of the line is split by
// `stride`: pixel s * X + p lies at X in row p of its split rows. There a tap's pixels lie side by side: those of run r are
// copied from sources[t * run_count + r]. Copies go on to whole vectors, so that 64 bytes behind what is read and written are
// readable and are lost.
struct SplitTask {
    const std::uint8_t* line;  // (rows, width) numbers
    std::int32_t rows, width, stride;
    std::uint8_t* split;                    // pixel 0 of the first split row; (rows, stride)
    std::ptrdiff_t pitch;                   // bytes of a split row
    const std::int32_t *columns, *sources;  // (taps): numbers of their columns; (taps, run_count): bytes from `split`
    const ByteRun* runs;
    std::int32_t taps, run_count;
    std::uint8_t* panel;
    std::ptrdiff_t column_bytes;
};

// Rows of floats to u8: x / scale + zero_point in two rounded operations, rounded half to even, from 0 to 255; NaN gives 255.
struct QuantizeTask {
    const float* from;
    std::ptrdiff_t from_stride;  // from row to row
    std::int64_t rows, count;
    float inverse_scale, zero_point;
    std::uint8_t* to;
    std::ptrdiff_t to_stride;
};

// u8 to floats: (q - zero_point) * scale.
struct DequantizeTask {
    const std::uint8_t* from;
    std::int64_t count;
    float scale;
    std::int32_t zero_point;
    float* to;
};

}  // namespace sovs
