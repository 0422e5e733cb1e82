// The windows of pixels that the output of an int8 or bf16 convolution is cut into, and the panels of columns that they read.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/tasks/bytes.h"
#include "maps/tensor.h"
#include "steps/step.h"
#include "weights/conv_shape.h"

namespace sovs {

// A run of output pixels inside one tile, from a whole line on.
struct ByteWindow {
    std::int64_t begin, end;  // pixels
    std::int64_t lanes;       // the pixels, and what fills up their last line
};

// What all channels of a window's panel have in common.
struct ByteTaps {
    std::int64_t first, span;  // of the input pixels in a channel's line
    Range read;                // those of them that there are and some tap reads
    std::vector<std::int32_t>
        sources;  // bytes, by tap: shifts in the line or in its phases; or (taps, runs) places in split rows
    std::vector<std::uint8_t> masks;  // (kernel taps, bytes of a column) of shifts
    std::int64_t phase_bytes;         // from one phase of a strided line to the next one
    std::vector<ByteRun> runs;        // of split rows
    struct Start {
        std::int64_t image, row, x;  // row: of the input, that the first tap reads
    };
    std::vector<Start> starts;        // of the runs
    std::vector<std::uint8_t> split;  // working memory: phases; or split rows, and one of zeros
};

class ByteWindows {
public:
    // `width`: pixels of a window at most, whole lines. columns: taps that some weight is stored at, ascending.
    ByteWindows(const ConvShape& shape, const TensorDesc& input, const TensorDesc& output, std::int64_t width,
                std::vector<std::int32_t> columns);

    long count() const { return static_cast<long>(count_); }
    std::int64_t width() const { return width_; }
    ByteWindow at(long window) const;
    // The input pixels that the window's taps meet: whole rows of one image or several.
    Range reads(const ByteWindow& window) const;

    // Panels hold a column for each channel and tap, so far apart.
    std::int64_t column_bytes() const { return width_ * number_; }
    std::int64_t column_lines() const { return column_bytes() / kByteLine; }
    // Of working memory for a line.
    std::int64_t line_bytes() const { return most_span() * number_ + kByteLine; }
    // Every tap meets pixels that lie equally far from the output's, in the line or in one of its phases: the input is as many
    // times larger than the output as strides say.
    static bool shifts(std::int64_t stride_h, std::int64_t stride_w, const TensorDesc& input, const TensorDesc& output);
    // What lies outside the image is `zero`.
    void find_taps(const ByteWindow& window, std::uint8_t zero, ByteTaps& taps) const;
    // What shifts count from, of a channel: the pixel of lane 0 lies at the tap's source. line: see pack().
    const std::uint8_t* shifted_line(ByteTaps& taps, const Map& input, std::int64_t channel, std::uint8_t* line) const;
    // The same in other memory than the taps' own, as large as theirs: `phases`, where strides are more than 1.
    const std::uint8_t* shifted_line(const ByteTaps& taps, const Map& input, std::int64_t channel, std::uint8_t* line,
                                     std::uint8_t* phases) const;
    // Columns of channels [begin, end). line: line_bytes() of working memory; panel: a line more than its columns.
    void pack(ByteTaps& taps, const Map& input, std::int64_t begin, std::int64_t end, std::uint8_t zero,
              std::uint8_t* line, std::uint8_t* panel) const;

private:
    // The longest line of any window.
    std::int64_t most_span() const;
    void load_line(const ByteTaps& taps, const Map& input, std::int64_t channel, std::uint8_t* line) const;
    void lay_line(const ByteWindow& window, ByteTaps& taps) const;
    void find_shifts(const ByteWindow& window, ByteTaps& taps) const;
    void find_split(const ByteWindow& window, std::uint8_t zero, ByteTaps& taps) const;
    bool shifts() const { return shifts(shape_.stride_h, shape_.stride_w, input_, output_); }
    bool strided() const { return shape_.stride_h > 1 || shape_.stride_w > 1; }
    // Calls body(image, y, x, count, lane) for each run of the window's pixels in one row.
    template <typename Body>
    void each_run(const ByteWindow& window, Body&& body) const;

    ConvShape shape_;
    TensorDesc input_, output_;
    std::int64_t number_;  // bytes of one
    // Of one of columns_, where taps are shifts.
    struct TapShift {
        std::int64_t phase, further;  // further: pixels of the phase from the output's own
        Range rows, columns;          // of the output, where the tap lies inside the input
    };

    std::int64_t width_, windows_a_tile_, count_;
    std::vector<std::int32_t> columns_;
    std::vector<TapShift> shifts_;
    std::int64_t split_begin_, split_pitch_;  // of split rows: where pixel 0 lies, and how many there are
};

}  // namespace sovs
