#include "training/batch_norm.h"

#include <cmath>

#include "base/error.h"
#include "kernels/isa.h"
#include "base/thread_pool.h"

namespace sovs {
namespace {

void check(const BatchNormShape& s) {
    require(s.n > 0 && s.c > 0 && s.pixels > 0, "expected batch sizes, channels and pixels of at least 1");
}

// A channel's planes stay in the L2 between the passes over them.
template <typename Body>
void each_channel(const BatchNormShape& s, int threads, Body&& body) {
    parallel_for(static_cast<long>(s.c), threads, [&](long channel) {
        body(static_cast<std::int64_t>(channel), [&](auto&& plane) {
            for (std::int64_t i = 0; i < s.n; ++i) plane((i * s.c + channel) * s.pixels);
        });
    });
}

}  // namespace

void batch_norm(const BatchNormShape& s, const float* x, const float* gamma, const float* beta, float* mean,
                float* variance, float* out, int threads) {
    check(s);
    const KernelTable& table = kernels();
    const double count = static_cast<double>(s.n) * static_cast<double>(s.pixels);
    each_channel(s, threads, [&](std::int64_t c, auto&& planes) {
        double sums[2] = {};
        planes([&](std::int64_t at) { table.plane_moments(x + at, s.pixels, 0.0f, sums); });
        mean[c] = static_cast<float>(sums[0] / count);
        // Around the mean: squares of large numbers would cancel.
        double around[2] = {};
        planes([&](std::int64_t at) { table.plane_moments(x + at, s.pixels, mean[c], around); });
        const double variance_c = (around[1] - around[0] * around[0] / count) / count;
        variance[c] = static_cast<float>(variance_c);
        const auto scale = static_cast<float>(gamma[c] / std::sqrt(variance_c + static_cast<double>(s.eps)));
        planes([&](std::int64_t at) {
            table.plane_scale({x + at, nullptr, out + at, s.pixels, mean[c], scale, 0.0f, beta[c]});
        });
    });
}

void batch_norm_gradients(const BatchNormShape& s, const float* grad, const float* x, const float* gamma,
                          const float* mean, const float* variance, float* grad_x, float* grad_gamma, float* grad_beta,
                          int threads) {
    check(s);
    const KernelTable& table = kernels();
    const double count = static_cast<double>(s.n) * static_cast<double>(s.pixels);
    each_channel(s, threads, [&](std::int64_t c, auto&& planes) {
        double sums[2] = {};
        planes([&](std::int64_t at) { table.plane_products(x + at, grad + at, s.pixels, mean[c], sums); });
        const double inverse = 1.0 / std::sqrt(static_cast<double>(variance[c]) + static_cast<double>(s.eps));
        grad_beta[c] = static_cast<float>(sums[0]);
        grad_gamma[c] = static_cast<float>(sums[1] * inverse);
        if (grad_x == nullptr) return;
        // gamma / deviation * (grad - mean(grad) - unit * mean(grad * unit)), unit = (x - mean) / deviation
        const double scale = gamma[c] * inverse;
        const auto of_x = static_cast<float>(-scale * inverse * inverse * sums[1] / count);
        const auto shift = static_cast<float>(-scale * sums[0] / count);
        planes([&](std::int64_t at) {
            table.plane_scale(
                {x + at, grad + at, grad_x + at, s.pixels, mean[c], of_x, static_cast<float>(scale), shift});
        });
    });
}

}  // namespace sovs
