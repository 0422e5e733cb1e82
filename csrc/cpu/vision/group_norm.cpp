#include "vision/group_norm.h"

#include <cmath>

#include "vision/upsampled_rows.h"
#include "base/error.h"
#include "kernels/isa.h"
#include "base/thread_pool.h"

namespace sovs {
void group_norm(const GroupNormShape& s, float* x, const float* gamma, const float* beta, const CoarserMap& above,
                bool relu, int threads) {
    require(s.n > 0 && s.c > 0 && s.h > 0 && s.w > 0 && s.groups > 0,
            "expected batch sizes, channels, pixels and groups of at least 1");
    require(s.c % s.groups == 0, "expected groups that divide the channels");
    const bool adds = above.values != nullptr;
    require(!adds || (above.h > 0 && above.w > 0), "expected a coarser map of at least 1 row and 1 column");
    const KernelTable& table = kernels();
    const std::int64_t channels = s.c / s.groups, pixels = s.h * s.w;
    const double count = static_cast<double>(channels) * static_cast<double>(pixels);
    const Places across(adds ? above.w : 1, adds ? s.w : 1), down(adds ? above.h : 1, adds ? s.h : 1);
    parallel_for(static_cast<long>(s.n * s.groups), threads, [&](long group) {
        float* planes = x + group * channels * pixels;
        double sums[2] = {}, around[2] = {};
        for (std::int64_t c = 0; c < channels; ++c) table.plane_moments(planes + c * pixels, pixels, 0.0f, sums);
        const auto mean = static_cast<float>(sums[0] / count);
        // Around the mean: squares of large numbers would cancel.
        for (std::int64_t c = 0; c < channels; ++c) table.plane_moments(planes + c * pixels, pixels, mean, around);
        const double variance = (around[1] - around[0] * around[0] / count) / count;
        const double inverse = 1.0 / std::sqrt(variance + static_cast<double>(s.eps));
        UpsampledRows upsampled(1, across, adds ? s.w : 1);
        for (std::int64_t c = 0; c < channels; ++c) {
            const std::int64_t channel = group % s.groups * channels + c;
            float* plane = planes + c * pixels;
            NormRowTask task{plane,         nullptr, nullptr, 0.0f, mean, static_cast<float>(gamma[channel] * inverse),
                             beta[channel], relu,    pixels};
            if (!adds) {
                table.norm_row(task);
                continue;
            }
            task.pixels = s.w;
            upsampled.start(0, s.w, 0);
            const auto rows =
                rows_of_planes(above.values + (group * channels + c) * above.h * above.w, above.h, above.w);
            for (std::int64_t y = 0; y < s.h; ++y) {
                const auto at = static_cast<std::size_t>(y);
                task.x = plane + y * s.w;
                task.upper = upsampled.row(down.first[at], down.second[at], rows);
                task.lower = upsampled.row(down.second[at], down.first[at], rows);
                task.weight = down.weight[at];
                table.norm_row(task);
            }
        }
    });
}

}  // namespace sovs
