// Upsampling maps bilinearly, pixel centres aligned, two rows at a time.
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/aligned.h"
#include "kernels/isa.h"

namespace sovs {

// Where the pixels of one side lie between the cells of the grid.
struct Places {
    std::vector<std::int32_t> first, second;
    std::vector<float> weight;  // of the second

    // covered: how many of the cells the pixels lie over, from the first on; the others count as neighbours alone.
    Places(std::int64_t cells, std::int64_t pixels, double covered) {
        const double scale = covered / static_cast<double>(pixels);
        for (std::int64_t i = 0; i < pixels; ++i) {
            const double at =
                std::clamp((static_cast<double>(i) + 0.5) * scale - 0.5, 0.0, static_cast<double>(cells - 1));
            const auto cell = static_cast<std::int32_t>(at);
            first.push_back(cell);
            second.push_back(std::min(cell + 1, static_cast<std::int32_t>(cells - 1)));
            weight.push_back(static_cast<float>(at - cell));
        }
    }
    Places(std::int64_t cells, std::int64_t pixels) : Places(cells, pixels, static_cast<double>(cells)) {}
};

// Two rows of some planes of a grid, upsampled to the width of a strip of columns.
class UpsampledRows {
public:
    // stride: floats from a plane's row to the next one's.
    UpsampledRows(std::int64_t planes, const Places& across, std::int64_t stride)
        : planes_(planes), across_(across), stride_(stride) {
        for (auto& row : rows_) row.reserve(static_cast<std::size_t>(planes * stride));
    }

    // origin: the grid's column that rows of `source` begin with.
    void start(std::int64_t left, std::int64_t width, std::int64_t origin) {
        width_ = width;
        weight_ = across_.weight.data() + left;
        for (auto [from, to] : {std::pair{&across_.first, &first_}, std::pair{&across_.second, &second_}}) {
            to->assign(from->begin() + left, from->begin() + left + width);
            for (std::int32_t& column : *to) column -= static_cast<std::int32_t>(origin);
        }
        held_[0] = held_[1] = -1;
    }

    // All planes' values of a row of the grid; `keep` stays held. source(row) gives a function from a plane to its cells
    // in that row.
    template <typename Source>
    const float* row(std::int32_t wanted, std::int32_t keep, const Source& source) {
        for (int k = 0; k < 2; ++k)
            if (held_[k] == wanted) return rows_[k].data();
        const int k = held_[0] == keep ? 1 : 0;
        const auto cells = source(wanted);
        for (std::int64_t p = 0; p < planes_; ++p)
            kernels().upsample_row(cells(p), first_.data(), second_.data(), weight_, width_,
                                   rows_[k].data() + p * stride_);
        held_[k] = wanted;
        return rows_[k].data();
    }

private:
    const std::int64_t planes_;
    const Places& across_;
    const std::int64_t stride_;
    std::vector<std::int32_t> first_, second_;
    const float* weight_ = nullptr;
    std::int64_t width_ = 0;
    AlignedBuffer<float> rows_[2];
    std::int32_t held_[2] = {-1, -1};
};

// Rows of planes (planes, h, w), as UpsampledRows wants them.
inline auto rows_of_planes(const float* planes, std::int64_t h, std::int64_t w) {
    return [=](std::int32_t y) { return [=](std::int64_t plane) { return planes + (plane * h + y) * w; }; };
}

}  // namespace sovs
