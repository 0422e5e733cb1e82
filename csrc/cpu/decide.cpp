#include "decide.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "aligned.h"
#include "error.h"
#include "isa.h"
#include "thread_pool.h"

namespace sovs {
namespace {

// Floats of all classes' two rows in one strip of columns: half of a usual L2.
constexpr std::int64_t kStripFloats = 1 << 17;
// Units of work for each thread, so that one that is late holds up little.
constexpr std::int64_t kUnitsPerThread = 4;

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

// Two rows of the grid, enlarged to the width of a strip of columns, for all classes.
class WideRows {
public:
    WideRows(const DecideShape& shape, const float* grid, const Places& across, std::int64_t stride)
        : shape_(shape), grid_(grid), across_(across), stride_(stride) {
        for (auto& row : rows_) row.reserve(static_cast<std::size_t>(shape.classes * stride));
    }

    void start(std::int64_t left, std::int64_t width) {
        left_ = left;
        width_ = width;
        held_[0] = held_[1] = -1;
    }

    // All classes' values of a row of the grid; `keep` stays held.
    const float* row(std::int32_t wanted, std::int32_t keep) {
        for (int k = 0; k < 2; ++k)
            if (held_[k] == wanted) return rows_[k].data();
        const int k = held_[0] == keep ? 1 : 0;
        for (std::int64_t c = 0; c < shape_.classes; ++c)
            kernels().enlarge_row(grid_ + (c * shape_.grid_h + wanted) * shape_.grid_w, across_.first.data() + left_,
                                  across_.second.data() + left_, across_.weight.data() + left_, width_,
                                  rows_[k].data() + c * stride_);
        held_[k] = wanted;
        return rows_[k].data();
    }

private:
    const DecideShape& shape_;
    const float* grid_;
    const Places& across_;
    std::int64_t stride_, left_ = 0, width_ = 0;
    AlignedBuffer<float> rows_[2];
    std::int32_t held_[2] = {-1, -1};
};

}  // namespace

void decide(const DecideShape& s, const float* grid, bool logits, std::int64_t* labels, float* confidence, float* scores,
            int threads) {
    require(s.classes > 0 && s.grid_h > 0 && s.grid_w > 0 && s.h > 0 && s.w > 0,
            "expected classes, grid and pixels of at least 1");
    require(s.classes < (1 << 24), "expected fewer than 2^24 classes");  // kernels count them in floats
    const KernelTable& table = kernels();
    const Places across(s.grid_w, s.w), down(s.grid_h, s.h);
    const std::int64_t vector = table.width;
    const std::int64_t fitting = std::max<std::int64_t>(kStripFloats / (2 * s.classes) / vector, 1) * vector;
    const std::int64_t stride = std::min(fitting, (s.w + vector - 1) / vector * vector);
    const std::int64_t units = std::min(s.h, kUnitsPerThread * std::max(threads, 1));
    parallel_for(static_cast<long>(units), threads, [&](long unit) {
        WideRows wide(s, grid, across, stride);
        AlignedBuffer<float> label(static_cast<std::size_t>(stride)), sure(static_cast<std::size_t>(stride));
        const std::int64_t top = s.h * unit / units, bottom = s.h * (unit + 1) / units;
        for (std::int64_t left = 0; left < s.w; left += stride) {
            const std::int64_t width = std::min(stride, s.w - left);
            wide.start(left, width);
            for (std::int64_t y = top; y < bottom; ++y) {
                const float* upper = wide.row(down.first[y], down.second[y]);
                const float* lower = wide.row(down.second[y], down.first[y]);
                const std::int64_t at = y * s.w + left;
                table.decide_row({upper, lower, stride, down.weight[y], s.classes, width, logits, label.data(),
                                  confidence == nullptr ? nullptr : sure.data(),
                                  scores == nullptr ? nullptr : scores + at, s.h * s.w});
                for (std::int64_t i = 0; i < width; ++i) labels[at + i] = static_cast<std::int64_t>(label.data()[i]);
                if (confidence != nullptr) std::copy_n(sure.data(), width, confidence + at);
            }
        }
    });
}

}  // namespace sovs
