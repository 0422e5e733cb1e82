// BatchNorm in training, over maps as NCHW: normalised by the statistics of the batch, and its gradients.
#pragma once
#include <cstdint>

namespace sovs {

struct BatchNormShape {
    std::int64_t n, c, pixels;  // of an image
    float eps;
};

// mean, variance (without Bessel's correction), gamma, beta: (c,).
void batch_norm(const BatchNormShape& shape, const float* x, const float* gamma, const float* beta, float* mean,
                float* variance, float* out, int threads);
// grad_x is null where it is not needed.
void batch_norm_gradients(const BatchNormShape& shape, const float* grad, const float* x, const float* gamma,
                          const float* mean, const float* variance, float* grad_x, float* grad_gamma, float* grad_beta,
                          int threads);

}  // namespace sovs
