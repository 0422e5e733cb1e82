#include "vision/masked_classes.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/isa.h"

namespace sovs {
namespace {

// All but the least likely queries, whose largest probabilities add up to kNegligible at most: masks are at most 1. The
// likeliest is always among them.
std::vector<std::int64_t> queries_that_count(const MaskWindow& window, std::int64_t classes) {
    std::vector<float> largest(static_cast<std::size_t>(window.queries));
    for (std::int64_t q = 0; q < window.queries; ++q) {
        const float* row = window.probabilities + q * classes;
        const bool numbers = std::none_of(row, row + classes, [](float p) { return std::isnan(p); });
        // NaN shows in the scores.
        largest[static_cast<std::size_t>(q)] = numbers ? *std::max_element(row, row + classes) : INFINITY;
    }
    std::vector<std::int64_t> order(largest.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
        return largest[static_cast<std::size_t>(a)] < largest[static_cast<std::size_t>(b)];
    });
    float left_out = 0.0f;
    auto first = order.begin();
    while (first + 1 != order.end() && (left_out += largest[static_cast<std::size_t>(*first)]) <= kNegligible) ++first;
    std::vector<std::int64_t> kept(first, order.end());
    std::sort(kept.begin(), kept.end());  // sums run over the queries in their order
    return kept;
}

std::int64_t most_pixels() { return std::int64_t{kernels().max_vectors4} * kernels().width; }

}  // namespace

MaskedClasses::MaskedClasses(const MaskWindow& window, std::int64_t classes)
    : window_(window),
      across_(window.grid_w, window.w),
      down_(window.grid_h, window.h),
      kept_(queries_that_count(window, classes)) {
    const std::int64_t blocks = (classes + 3) / 4;
    blocks_.resize(static_cast<std::size_t>(blocks));
    std::iota(blocks_.begin(), blocks_.end(), 0);
    for (std::int64_t q = 0; q < queries(); ++q)
        offsets_.push_back(static_cast<std::int32_t>(q * most_pixels() * std::int64_t{sizeof(float)}));
    zeros_.reserve(static_cast<std::size_t>(4 * blocks));
    weights_.reserve(static_cast<std::size_t>(4 * blocks * queries()));
    for (std::int64_t q = 0; q < queries(); ++q)
        for (std::int64_t k = 0; k < classes; ++k)
            weights_.data()[(k / 4 * queries() + q) * 4 + k % 4] =
                window.probabilities[kept_[static_cast<std::size_t>(q)] * classes + k];
}

std::size_t MaskedClasses::panel_floats() const { return static_cast<std::size_t>(queries() * most_pixels()); }

void MaskedClasses::add_up(const float* upper, const float* lower, float weight, std::int64_t pixels,
                           std::int64_t stride, float* panel, float* scores) const {
    const KernelTable& table = kernels();
    RowGroup group{};
    group.entries = static_cast<std::int32_t>(queries());
    group.block_rows = static_cast<std::int32_t>(blocks_.size());
    RowsTask task{};
    task.groups = &group;
    task.group_count = 1;
    task.row_ids = blocks_.data();
    task.offsets = offsets_.data();
    task.weights = weights_.data();
    task.panel = panel;
    task.bias = zeros_.data();
    task.first = task.last = true;
    task.sums_stride = stride;
    for (std::int64_t x = 0; x < pixels; x += most_pixels()) {
        const std::int64_t count = std::min(most_pixels(), pixels - x),
                           vectors = (count + table.width - 1) / table.width;
        table.mask_row({upper + x, lower + x, stride, weight, queries(), count, true, panel, most_pixels()});
        task.pixels = static_cast<std::int32_t>(count);
        task.sums = scores + x;
        table.rows4[vectors](task);
    }
}

}  // namespace sovs
