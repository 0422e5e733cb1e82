#include "weights/structure.h"

#include <limits>
#include <string>

#include "base/error.h"

namespace sovs {

void check_sizes(const WeightSizes& s) {
    require(s.out_channels > 0 && s.in_channels > 0 && s.kernel_h > 0 && s.kernel_w > 0 && s.groups > 0,
            "expected weight sizes of at least 1");
    if (s.block.cols != 1 || (s.block.rows != 1 && s.block.rows != 2 && s.block.rows != 4))
        throw InvalidArgument("expected blocks of 1x1, 2x1 or 4x1 weights (block_rows of 1, 2 or 4), got " +
                              std::to_string(s.block.rows) + "x" + std::to_string(s.block.cols));
    require(s.out_channels % s.groups == 0, "expected out_channels to be a multiple of groups");
    require(s.groups == 1 || s.out_channels / s.groups % s.block.rows == 0,
            "expected the output channels of a group to be a multiple of block_rows");
    const double columns = static_cast<double>(s.in_channels) * s.kernel_h * s.kernel_w;
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    require(columns < static_cast<double>(kMost) && s.out_channels < kMost,
            "expected fewer than 2**31 rows and columns");
}

}  // namespace sovs
