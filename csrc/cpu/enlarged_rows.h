// Enlarging maps bilinearly, pixel centres aligned, two rows at a time.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "aligned.h"
#include "isa.h"

namespace sovs {

// Where the pixels of one side lie between the cells of the grid.
struct Places {
    std::vector<std::int32_t> first, second;
    std::vector<float> weight;  // of the second

    Places(std::int64_t cells, std::int64_t pixels) {
        const double scale = static_cast<double>(cells) / static_cast<double>(pixels);
        for (std::int64_t i = 0; i < pixels; ++i) {
            const double at = std::clamp((static_cast<double>(i) + 0.5) * scale - 0.5, 0.0, static_cast<double>(cells - 1));
            const auto cell = static_cast<std::int32_t>(at);
            first.push_back(cell);
            second.push_back(std::min(cell + 1, static_cast<std::int32_t>(cells - 1)));
            weight.push_back(static_cast<float>(at - cell));
        }
    }
};

// Two rows of some planes of a grid, enlarged to the width of a strip of columns.
class EnlargedRows {
public:
    // stride: floats from a plane's row to the next one's.
    EnlargedRows(std::int64_t planes, std::int64_t grid_h, std::int64_t grid_w, const Places& across, std::int64_t stride)
        : planes_(planes), grid_h_(grid_h), grid_w_(grid_w), across_(across), stride_(stride) {
        for (auto& row : rows_) row.reserve(static_cast<std::size_t>(planes * stride));
    }

    // grid: (planes, grid_h, grid_w).
    void start(const float* grid, std::int64_t left, std::int64_t width) {
        grid_ = grid;
        left_ = left;
        width_ = width;
        held_[0] = held_[1] = -1;
    }

    // All planes' values of a row of the grid; `keep` stays held.
    const float* row(std::int32_t wanted, std::int32_t keep) {
        for (int k = 0; k < 2; ++k)
            if (held_[k] == wanted) return rows_[k].data();
        const int k = held_[0] == keep ? 1 : 0;
        for (std::int64_t p = 0; p < planes_; ++p)
            kernels().enlarge_row(grid_ + (p * grid_h_ + wanted) * grid_w_, across_.first.data() + left_,
                                  across_.second.data() + left_, across_.weight.data() + left_, width_,
                                  rows_[k].data() + p * stride_);
        held_[k] = wanted;
        return rows_[k].data();
    }

private:
    const std::int64_t planes_, grid_h_, grid_w_;
    const Places& across_;
    const std::int64_t stride_;
    const float* grid_ = nullptr;
    std::int64_t left_ = 0, width_ = 0;
    AlignedBuffer<float> rows_[2];
    std::int32_t held_[2] = {-1, -1};
};

}  // namespace sovs
