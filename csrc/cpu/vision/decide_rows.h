// What deciding on scores and on masks share: bands of rows, strips of columns, and rows of decisions.
#pragma once
#include <algorithm>
#include <cstdint>

#include "base/aligned.h"
#include "kernels/isa.h"

namespace sovs {

// Of every pixel of an image (h, w): its class; if not null, the class's probability, and those of all (classes, h, w).
struct Decisions {
    std::int64_t h, w;
    std::int64_t* labels;
    float *confidence, *scores;
};

// Columns that are worked on at a time, whole vectors: `floats` of each take 1 MB at most together, which an L2 holds.
inline std::int64_t strip_columns(std::int64_t floats, std::int64_t columns) {
    constexpr std::int64_t kStripFloats = 1 << 18;
    const std::int64_t vector = kernels().width;
    const std::int64_t fitting = std::max<std::int64_t>(kStripFloats / floats / vector, 1) * vector;
    return std::min(fitting, (columns + vector - 1) / vector * vector);
}

// Bands of rows: some for each thread, so that one that is late holds up little.
inline std::int64_t band_count(std::int64_t rows, int threads) {
    return std::min<std::int64_t>(rows, 4 * std::max(threads, 1));
}

// Writes the decisions of pieces of rows.
class DecisionRows {
public:
    DecisionRows(const Decisions& to, std::int64_t classes, std::int64_t stride, bool logits)
        : to_(to),
          classes_(classes),
          stride_(stride),
          logits_(logits),
          label_(static_cast<std::size_t>(stride)),
          sure_(static_cast<std::size_t>(stride)) {}

    // upper, lower: (classes, stride) scores of the pixels' columns in two rows, `weight` of the lower one.
    void write(std::int64_t y, std::int64_t left, std::int64_t width, const float* upper, const float* lower,
               float weight) {
        const std::int64_t at = y * to_.w + left;
        kernels().decide_row({upper, lower, stride_, weight, classes_, width, logits_, label_.data(),
                              to_.confidence == nullptr ? nullptr : sure_.data(),
                              to_.scores == nullptr ? nullptr : to_.scores + at, to_.h * to_.w});
        for (std::int64_t i = 0; i < width; ++i) to_.labels[at + i] = static_cast<std::int64_t>(label_.data()[i]);
        if (to_.confidence != nullptr) std::copy_n(sure_.data(), width, to_.confidence + at);
    }

private:
    const Decisions to_;
    const std::int64_t classes_, stride_;
    const bool logits_;
    AlignedBuffer<float> label_, sure_;
};

}  // namespace sovs
