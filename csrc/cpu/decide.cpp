#include "decide.h"

#include <algorithm>
#include <vector>

#include "aligned.h"
#include "enlarged_rows.h"
#include "error.h"
#include "isa.h"
#include "thread_pool.h"

namespace sovs {
namespace {

// Floats of all classes' two rows in one strip of columns: half of a usual L2.
constexpr std::int64_t kStripFloats = 1 << 17;
// Units of work for each thread, so that one that is late holds up little.
constexpr std::int64_t kUnitsPerThread = 4;

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
        EnlargedRows wide(s.classes, s.grid_h, s.grid_w, across, stride);
        AlignedBuffer<float> label(static_cast<std::size_t>(stride)), sure(static_cast<std::size_t>(stride));
        const std::int64_t top = s.h * unit / units, bottom = s.h * (unit + 1) / units;
        for (std::int64_t left = 0; left < s.w; left += stride) {
            const std::int64_t width = std::min(stride, s.w - left);
            wide.start(grid, left, width);
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
