#include "pool_step.h"

#include <algorithm>

#include "error.h"
#include "isa.h"

namespace sovs {
namespace {

// Enough floats a unit to pay for handing it out.
constexpr std::int64_t kUnitFloats = 16 * 1024;

}  // namespace

PoolStep::PoolStep(const TensorDesc& input, const TensorDesc& output) : input_(input), output_(output) {
    require(output.n == input.n && output.c == input.c && output.layout == input.layout,
            "expected a pooled map of the input's batch, channels and layout");
    require(output.h == input.h / 2 && output.w == input.w / 2 && output.h > 0 && output.w > 0,
            "expected a pooled map of half the input's size");
    const std::int64_t row = output.layout == Layout::nhwc ? output.w * output.c : output.w;
    rows_a_unit_ = static_cast<long>(std::max<std::int64_t>(1, kUnitFloats / row));
}

long PoolStep::units() const {
    const std::int64_t rows = output_.count() / (output_.layout == Layout::nhwc ? output_.w * output_.c : output_.w);
    return static_cast<long>((rows + rows_a_unit_ - 1) / rows_a_unit_);
}

void PoolStep::run_unit(long unit, const float* input, const float*, float* output) const {
    const bool nhwc = output_.layout == Layout::nhwc;
    const std::int64_t channels = nhwc ? output_.c : 1;  // of a pixel's run
    const std::int64_t planes = output_.n * (nhwc ? 1 : output_.c);
    const std::int64_t begin = std::int64_t{unit} * rows_a_unit_;
    const std::int64_t end = std::min<std::int64_t>(begin + rows_a_unit_, planes * output_.h);
    const std::ptrdiff_t in_row = input_.w * channels, out_row = output_.w * channels;
    for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t plane = row / output_.h, y = row % output_.h;
        const float* upper = input + (plane * input_.h + 2 * y) * in_row;
        kernels().pool_row(output + row * out_row, upper, upper + in_row, output_.w, channels);
    }
}

}  // namespace sovs
