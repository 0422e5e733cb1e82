// The C API of training: weight gradients, BatchNorm.
#include "api/convert.h"
#include "api/handles.h"
#include "api/status.h"
#include "training/batch_norm.h"

namespace {

using sovs::guarded;
using sovs::require;

}  // namespace

extern "C" {

sovs_status sovs_weight_gradient_create(const sovs_weights* weights, const sovs_conv2d_params* params,
                                        const sovs_tuning* tuning, int64_t n, int64_t h, int64_t w, sovs_layout layout,
                                        int32_t threads, sovs_weight_gradient** out) {
    return guarded([&] {
        require(weights != nullptr && params != nullptr && out != nullptr,
                "expected weights, params and out, got NULL");
        require(layout == SOVS_NCHW || layout == SOVS_NHWC, "expected layout SOVS_NCHW or SOVS_NHWC");
        require(n > 0 && h > 0 && w > 0, "expected tensor sizes of at least 1");
        const bool nhwc = layout == SOVS_NHWC;
        const sovs::ConvParams conv = sovs::conv_params(params);
        const sovs::WeightSizes& sizes = weights->shared->sizes();
        const sovs::TensorDesc input{n, sizes.in_channels * sizes.groups, h, w,
                                     nhwc ? sovs::TensorDesc::kNhwc : sovs::TensorDesc::nchw(h, w)};
        const sovs::TensorDesc output = sovs::output_of(*weights->shared, conv, input, nhwc);
        const sovs::Tuning wanted = sovs::tuning_of(tuning);
        *out = new sovs_weight_gradient{sovs::WeightGradient(weights->shared, conv, input, output, wanted, threads)};
    });
}
sovs_status sovs_weight_gradient_run(const sovs_weight_gradient* gradient, const float* input, const float* grad,
                                     float* out, int32_t threads) {
    return guarded([&] {
        require(gradient != nullptr && input != nullptr && grad != nullptr && out != nullptr,
                "expected gradient, input, grad and out, got NULL");
        gradient->gradient.run(input, grad, out, threads);
    });
}
void sovs_weight_gradient_destroy(sovs_weight_gradient* gradient) { delete gradient; }

sovs_status sovs_batch_norm(int64_t n, int64_t c, int64_t pixels, float eps, const float* x, const float* gamma,
                            const float* beta, float* mean, float* variance, float* out, int32_t threads) {
    return guarded([&] {
        require(x != nullptr && gamma != nullptr && beta != nullptr && mean != nullptr && variance != nullptr &&
                    out != nullptr,
                "expected x, gamma, beta, mean, variance and out, got NULL");
        sovs::batch_norm({n, c, pixels, eps}, x, gamma, beta, mean, variance, out, threads);
    });
}
sovs_status sovs_batch_norm_gradients(int64_t n, int64_t c, int64_t pixels, float eps, const float* grad,
                                      const float* x, const float* gamma, const float* mean, const float* variance,
                                      float* grad_x, float* grad_gamma, float* grad_beta, int32_t threads) {
    return guarded([&] {
        require(grad != nullptr && x != nullptr && gamma != nullptr && mean != nullptr && variance != nullptr &&
                    grad_gamma != nullptr && grad_beta != nullptr,
                "expected grad, x, gamma, mean, variance, grad_gamma and grad_beta, got NULL");
        sovs::batch_norm_gradients({n, c, pixels, eps}, grad, x, gamma, mean, variance, grad_x, grad_gamma, grad_beta,
                                   threads);
    });
}

}  // extern "C"
