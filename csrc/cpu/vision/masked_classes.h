// One window's masks and the classes of their queries: rows of mask logits, and of scores by class.
#pragma once
#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "vision/decide_masks.h"
#include "vision/upsampled_rows.h"

namespace sovs {

// Of a window, made once: which queries count, their classes as rows of weights, and where its pixels lie in the grid.
class MaskedClasses {
public:
    MaskedClasses(const MaskWindow& window, std::int64_t classes);

    const MaskWindow& window() const { return window_; }
    std::int64_t queries() const { return static_cast<std::int64_t>(kept_.size()); }
    const Places& across() const { return across_; }
    const Places& down() const { return down_; }
    // Source of UpsampledRows: the logits of the queries that count.
    auto logits() const {
        return [this](std::int32_t y) {
            return [this, y](std::int64_t query) {
                const std::int64_t plane = kept_[static_cast<std::size_t>(query)];
                return window_.logits + (plane * window_.grid_h + y) * window_.grid_w;
            };
        };
    }

    // scores (classes padded to fours, stride) = the sum over queries of class probability times mask probability, from
    // two rows (queries, stride) of logits; `stride` and what the rows hold are whole vectors. panel: working memory of
    // panel_floats().
    void add_up(const float* upper, const float* lower, float weight, std::int64_t pixels, std::int64_t stride,
                float* panel, float* scores) const;
    std::size_t panel_floats() const;

private:
    MaskWindow window_;
    Places across_, down_;
    std::vector<std::int64_t> kept_;     // queries
    std::vector<std::int32_t> offsets_;  // bytes from the panel's start to a query's row
    std::vector<std::int32_t> blocks_;   // four classes each
    AlignedBuffer<float> weights_;       // (blocks, queries, 4)
    AlignedBuffer<float> zeros_;         // (classes padded to fours)
};

}  // namespace sovs
