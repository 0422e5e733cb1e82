#include "vision/decide.h"

#include "vision/upsampled_rows.h"
#include "base/error.h"
#include "base/thread_pool.h"

namespace sovs {

void decide(const ScoreGrid& grid, bool logits, const Decisions& to, int threads) {
    require(grid.classes > 0 && grid.h > 0 && grid.w > 0 && to.h > 0 && to.w > 0,
            "expected classes, grid and pixels of at least 1");
    require(grid.classes < (1 << 24), "expected fewer than 2^24 classes");  // kernels count them in floats
    require(grid.covered_h > 0 && grid.covered_h <= static_cast<double>(grid.h) && grid.covered_w > 0 &&
                grid.covered_w <= static_cast<double>(grid.w),
            "expected covered rows and columns above 0, and no more than the grid has");
    const Places across(grid.w, to.w, grid.covered_w), down(grid.h, to.h, grid.covered_h);
    const std::int64_t stride = strip_columns(4 * grid.classes, to.w), bands = band_count(to.h, threads);
    const auto source = rows_of_planes(grid.scores, grid.h, grid.w);
    parallel_for(static_cast<long>(bands), threads, [&](long band) {
        UpsampledRows wide(grid.classes, across, stride);
        DecisionRows rows(to, grid.classes, stride, logits);
        for (std::int64_t left = 0; left < to.w; left += stride) {
            const std::int64_t width = std::min(stride, to.w - left);
            wide.start(left, width, 0);
            for (std::int64_t y = to.h * band / bands; y < to.h * (band + 1) / bands; ++y) {
                const auto at = static_cast<std::size_t>(y);
                const float* upper = wide.row(down.first[at], down.second[at], source);
                const float* lower = wide.row(down.second[at], down.first[at], source);
                rows.write(y, left, width, upper, lower, down.weight[at]);
            }
        }
    });
}

}  // namespace sovs
