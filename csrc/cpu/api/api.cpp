// The C face of the library: checks what callers pass, and turns exceptions into statuses and messages.
#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "api/status.h"
#include "training/batch_norm.h"
#include "base/buffer_pool.h"
#include "program/encoder.h"
#include "base/error.h"
#include "kernels/isa.h"
#include "weights/pack.h"
#include "plan/plan.h"
#include "sparse_ovs.h"
#include "base/thread_pool.h"
#include "conv/tune.h"
#include "training/weight_gradient.h"

struct sovs_weights {
    std::shared_ptr<const sovs::Weights> shared;
};
struct sovs_plan {
    std::shared_ptr<sovs::Plan> shared = std::make_shared<sovs::Plan>();
    sovs::Plan& plan = *shared;
};
struct sovs_weight_gradient {
    sovs::WeightGradient gradient;
};
struct sovs_encoder {
    sovs::Encoder encoder;
};

namespace {

using sovs::guarded;
using sovs::require;

sovs_tuning to_tuning(const sovs::Tiling& t) {
    return {t.tile_rows, t.tile_cols, t.k_tile, t.row_parts, static_cast<int64_t>(t.panel) + 1};
}

sovs::ConvParams conv_params(const sovs_conv2d_params& p) {
    require(p.activation >= SOVS_NONE && p.activation <= SOVS_QUICK_GELU, "expected an activation of sovs_activation");
    return {p.stride_h, p.stride_w, p.pad_h, p.pad_w, p.dilation_h, p.dilation_w, static_cast<sovs::Activation>(p.activation)};
}

sovs::ConvPlace conv_place(const sovs_conv2d_place& p) { return {p.n, p.h, p.w, p.pixel_major != 0}; }

sovs::Tuning from_tuning(const sovs_tuning& t) { return {t.tile_rows, t.tile_cols, t.k_tile, t.row_parts, t.panel}; }

}  // namespace

extern "C" {

int32_t sovs_abi_version(void) { return SOVS_ABI_VERSION; }
const char* sovs_last_error(void) { return sovs::last_error.c_str(); }

const char* sovs_isa(void) {
    const char* name = nullptr;
    guarded([&] { name = sovs::kernels().isa; });
    return name;
}
const char* sovs_available_isas(void) { return sovs::available_isas().c_str(); }

void sovs_use_openmp(sovs_openmp_parallel parallel) { sovs::use_openmp(parallel); }

sovs_status sovs_buffer_take(size_t bytes, void** out) {
    return guarded([&] {
        require(bytes > 0 && out != nullptr, "expected bytes and out, got 0 or NULL");
        *out = sovs::take_buffer(bytes);
    });
}
sovs_status sovs_buffer_give(void* buffer) {
    return guarded([&] { sovs::give_buffer(buffer); });
}
size_t sovs_buffer_idle_bytes(void) { return sovs::idle_buffer_bytes(); }

sovs_status sovs_weights_create(const sovs_weights_desc* desc, sovs_weights** out) {
    return guarded([&] {
        require(desc != nullptr && out != nullptr, "expected desc and out, got NULL");
        *out = new sovs_weights{std::make_shared<sovs::Weights>(sovs::pack_sparse(*desc), desc->bias)};
    });
}

sovs_status sovs_weights_create_dense(int64_t out_channels, int64_t in_channels, int64_t kernel_h, int64_t kernel_w,
                                      int64_t groups, const float* weight, const float* bias, sovs_weights** out) {
    return guarded([&] {
        require(weight != nullptr && out != nullptr, "expected weight and out, got NULL");
        sovs::Weights::Packed sizes{out_channels, in_channels, kernel_h, kernel_w, groups, 0, {}, {}, {}};
        *out = new sovs_weights{std::make_shared<sovs::Weights>(sovs::pack_dense(std::move(sizes), weight), bias)};
    });
}

size_t sovs_weights_bytes(const sovs_weights* weights) { return weights == nullptr ? 0 : weights->shared->bytes(); }
size_t sovs_weights_packed_bytes(const sovs_weights* weights) {
    return weights == nullptr ? 0 : weights->shared->packed_bytes();
}
sovs_status sovs_weights_unpack(const sovs_weights* weights, float* dense) {
    return guarded([&] {
        require(weights != nullptr && dense != nullptr, "expected weights and dense, got NULL");
        weights->shared->unpack(dense);
    });
}
sovs_status sovs_weights_release(const sovs_weights* weights) {
    return guarded([&] {
        require(weights != nullptr, "expected weights, got NULL");
        weights->shared->hold_once();
    });
}
sovs_status sovs_weights_update(const sovs_weights* weights, const float* weight, const float* bias, int32_t threads) {
    return guarded([&] {
        require(weights != nullptr && weight != nullptr, "expected weights and weight, got NULL");
        weights->shared->update(weight, bias, threads);
    });
}
sovs_status sovs_weights_transpose(const sovs_weights* weights, sovs_weights** out) {
    return guarded([&] {
        require(weights != nullptr && out != nullptr, "expected weights and out, got NULL");
        *out = new sovs_weights{sovs::Weights::transposed(*weights->shared)};
    });
}
void sovs_weights_destroy(sovs_weights* weights) { delete weights; }

sovs_status sovs_plan_create(sovs_plan** out) {
    return guarded([&] {
        require(out != nullptr, "expected out, got NULL");
        *out = new sovs_plan;
    });
}

sovs_status sovs_plan_add_tensor(sovs_plan* plan, int64_t n, int64_t c, int64_t h, int64_t w, sovs_layout layout,
                                 int32_t* id) {
    return guarded([&] {
        require(plan != nullptr && id != nullptr, "expected plan and id, got NULL");
        require(layout == SOVS_NCHW || layout == SOVS_NHWC, "expected layout SOVS_NCHW or SOVS_NHWC");
        require(n > 0 && c > 0 && h > 0 && w > 0, "expected tensor sizes of at least 1");
        *id = plan->plan.add_tensor({n, c, h, w, layout == SOVS_NHWC ? sovs::TensorDesc::kNhwc : h * w});
    });
}

sovs_status sovs_plan_add_conv2d(sovs_plan* plan, const sovs_weights* weights, const sovs_conv2d_params* params,
                                 const sovs_tuning* tuning, int32_t input, int32_t residual, int32_t output) {
    return guarded([&] {
        require(plan != nullptr && weights != nullptr && params != nullptr, "expected plan, weights and params, got NULL");
        const sovs::Tuning wanted = tuning == nullptr ? sovs::Tuning{} : from_tuning(*tuning);
        plan->plan.add_conv2d(weights->shared, conv_params(*params), wanted, input, residual, output);
    });
}

sovs_status sovs_plan_add_avg_pool2x2(sovs_plan* plan, int32_t input, int32_t output) {
    return guarded([&] {
        require(plan != nullptr, "expected plan, got NULL");
        plan->plan.add_avg_pool2x2(input, output);
    });
}

sovs_status sovs_plan_add_atrous_pool2x2(sovs_plan* plan, int64_t dilation, int32_t input, int32_t output) {
    return guarded([&] {
        require(plan != nullptr, "expected plan, got NULL");
        plan->plan.add_atrous_pool2x2({dilation}, input, output);
    });
}

sovs_status sovs_plan_add_layer_norm(sovs_plan* plan, int64_t channels, const float* gamma, const float* beta, float eps,
                                     int32_t input, int32_t output) {
    return guarded([&] {
        require(plan != nullptr, "expected plan, got NULL");
        require(channels > 0, "expected at least 1 channel");
        sovs::LayerNormParams norm{std::vector<float>(channels, 1.0f), std::vector<float>(channels, 0.0f), eps};
        if (gamma != nullptr) norm.gamma.assign(gamma, gamma + channels);
        if (beta != nullptr) norm.beta.assign(beta, beta + channels);
        plan->plan.add_layer_norm(std::move(norm), input, output);
    });
}

sovs_status sovs_plan_add_attention(sovs_plan* plan, const sovs_attention_params* params, int32_t input, int32_t queries,
                                    int32_t output) {
    return guarded([&] {
        require(plan != nullptr && params != nullptr, "expected plan and params, got NULL");
        plan->plan.add_attention({params->heads, params->head_channels, params->query, params->key, params->value,
                                  params->scale},
                                 input, queries, output);
    });
}

sovs_status sovs_plan_add_tokens(sovs_plan* plan, int64_t tokens, int64_t channels, const float* constants, int64_t mean,
                                 int32_t input, int32_t output) {
    return guarded([&] {
        require(plan != nullptr && constants != nullptr, "expected plan and constants, got NULL");
        require(tokens > 0 && channels > 0, "expected at least 1 token and 1 channel");
        plan->plan.add_tokens({{constants, constants + tokens * channels}, mean != 0}, input, output);
    });
}

sovs_status sovs_plan_add_crop(sovs_plan* plan, int64_t first, int32_t input, int32_t output) {
    return guarded([&] {
        require(plan != nullptr, "expected plan, got NULL");
        plan->plan.add_crop({first}, input, output);
    });
}

sovs_status sovs_plan_finalize(sovs_plan* plan, const int32_t* inputs, int32_t n_inputs, const int32_t* outputs,
                               int32_t n_outputs, int32_t threads) {
    return guarded([&] {
        require(plan != nullptr && inputs != nullptr && outputs != nullptr, "expected plan, inputs and outputs, got NULL");
        plan->plan.finalize({inputs, inputs + n_inputs}, {outputs, outputs + n_outputs}, threads);
    });
}

sovs_status sovs_plan_run(const sovs_plan* plan, const float* const* inputs, float* const* outputs, int32_t threads) {
    return guarded([&] {
        require(plan != nullptr && inputs != nullptr && outputs != nullptr, "expected plan, inputs and outputs, got NULL");
        plan->plan.run(inputs, outputs, threads);
    });
}

sovs_status sovs_plan_time(const sovs_plan* plan, const float* const* inputs, float* const* outputs, int32_t threads,
                           double* seconds) {
    return guarded([&] {
        require(plan != nullptr && inputs != nullptr && outputs != nullptr && seconds != nullptr,
                "expected plan, inputs, outputs and seconds, got NULL");
        plan->plan.run(inputs, outputs, threads, seconds);
    });
}

int32_t sovs_plan_step_count(const sovs_plan* plan) { return plan == nullptr ? 0 : plan->plan.run_steps(); }

sovs_status sovs_plan_step_info(const sovs_plan* plan, int32_t i, sovs_step_info* out) {
    return guarded([&] {
        require(plan != nullptr && out != nullptr, "expected plan and out, got NULL");
        const sovs::PlanStepInfo step = plan->plan.info(i);
        const sovs::TensorDesc& map = step.output;
        *out = {step.added, step.strip_group, step.backend, map.n, map.c, map.h, map.w, map.tile, step.density,
                step.tiling == nullptr ? sovs_tuning{} : to_tuning(*step.tiling)};
    });
}

size_t sovs_plan_arena_bytes(const sovs_plan* plan) { return plan == nullptr ? 0 : plan->plan.arena_bytes(); }

void sovs_plan_destroy(sovs_plan* plan) { delete plan; }

sovs_status sovs_conv2d_candidates(const sovs_weights* weights, const sovs_conv2d_params* params,
                                   const sovs_conv2d_place* place, sovs_tuning* out, int32_t* count) {
    return guarded([&] {
        require(weights != nullptr && params != nullptr && place != nullptr && out != nullptr && count != nullptr,
                "expected weights, params, place, out and count, got NULL");
        require(*count > 0, "expected room for at least 1 tuning");
        const auto found = sovs::conv_candidates(weights->shared, conv_params(*params), conv_place(*place),
                                                 static_cast<std::size_t>(*count));
        *count = static_cast<int32_t>(found.size());
        for (const sovs::Tuning& t : found) *out++ = {t.tile_rows, t.tile_cols, t.k_tile, t.row_parts, t.panel};
    });
}

sovs_status sovs_conv2d_time(const sovs_weights* weights, const sovs_conv2d_params* params,
                             const sovs_conv2d_place* place, const sovs_tuning* tunings, int32_t count, int32_t rounds,
                             double* seconds) {
    return guarded([&] {
        require(weights != nullptr && params != nullptr && place != nullptr && tunings != nullptr && seconds != nullptr,
                "expected weights, params, place, tunings and seconds, got NULL");
        require(count > 0, "expected at least 1 tuning");
        std::vector<sovs::Tuning> wanted;
        std::transform(tunings, tunings + count, std::back_inserter(wanted), from_tuning);
        const auto found = sovs::time_conv(weights->shared, conv_params(*params), conv_place(*place), wanted, rounds);
        std::copy(found.begin(), found.end(), seconds);
    });
}

sovs_status sovs_weight_gradient_create(const sovs_weights* weights, const sovs_conv2d_params* params,
                                        const sovs_tuning* tuning, int64_t n, int64_t h, int64_t w, sovs_layout layout,
                                        int32_t threads, sovs_weight_gradient** out) {
    return guarded([&] {
        require(weights != nullptr && params != nullptr && out != nullptr, "expected weights, params and out, got NULL");
        require(layout == SOVS_NCHW || layout == SOVS_NHWC, "expected layout SOVS_NCHW or SOVS_NHWC");
        require(n > 0 && h > 0 && w > 0, "expected tensor sizes of at least 1");
        const bool nhwc = layout == SOVS_NHWC;
        const sovs::ConvParams conv = conv_params(*params);
        const sovs::WeightSizes& sizes = weights->shared->sizes();
        const sovs::TensorDesc input{n, sizes.in_channels * sizes.groups, h, w,
                                     nhwc ? sovs::TensorDesc::kNhwc : sovs::TensorDesc::nchw(h, w)};
        const sovs::TensorDesc output = sovs::output_of(*weights->shared, conv, input, nhwc);
        const sovs::Tuning wanted = tuning == nullptr ? sovs::Tuning{} : from_tuning(*tuning);
        *out = new sovs_weight_gradient{
            sovs::WeightGradient(weights->shared, conv, input, output, wanted, threads)};
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
        require(x != nullptr && gamma != nullptr && beta != nullptr && mean != nullptr && variance != nullptr && out != nullptr,
                "expected x, gamma, beta, mean, variance and out, got NULL");
        sovs::batch_norm({n, c, pixels, eps}, x, gamma, beta, mean, variance, out, threads);
    });
}
sovs_status sovs_batch_norm_gradients(int64_t n, int64_t c, int64_t pixels, float eps, const float* grad, const float* x,
                                      const float* gamma, const float* mean, const float* variance, float* grad_x,
                                      float* grad_gamma, float* grad_beta, int32_t threads) {
    return guarded([&] {
        require(grad != nullptr && x != nullptr && gamma != nullptr && mean != nullptr && variance != nullptr &&
                    grad_gamma != nullptr && grad_beta != nullptr,
                "expected grad, x, gamma, mean, variance, grad_gamma and grad_beta, got NULL");
        sovs::batch_norm_gradients({n, c, pixels, eps}, grad, x, gamma, mean, variance, grad_x, grad_gamma, grad_beta,
                                   threads);
    });
}

sovs_status sovs_encoder_load(const char* path, sovs_encoder** out) {
    return guarded([&] {
        require(path != nullptr && out != nullptr, "expected path and out, got NULL");
        *out = new sovs_encoder{sovs::Encoder(path)};
    });
}

int64_t sovs_encoder_input_channels(const sovs_encoder* encoder) {
    return encoder == nullptr ? 0 : encoder->encoder.program().in_channels;
}
int32_t sovs_encoder_output_count(const sovs_encoder* encoder) {
    return encoder == nullptr ? 0 : static_cast<int32_t>(encoder->encoder.program().outputs.size());
}
const char* sovs_encoder_header(const sovs_encoder* encoder) {
    return encoder == nullptr ? "" : encoder->encoder.header().c_str();
}

sovs_status sovs_encoder_outputs(const sovs_encoder* encoder, int64_t n, int64_t h, int64_t w, sovs_shape* shapes) {
    return guarded([&] {
        require(encoder != nullptr && shapes != nullptr, "expected encoder and shapes, got NULL");
        for (const sovs::TensorDesc& map : encoder->encoder.outputs(n, h, w)) *shapes++ = {map.n, map.c, map.h, map.w};
    });
}

sovs_status sovs_encoder_run(const sovs_encoder* encoder, const float* input, int64_t n, int64_t h, int64_t w,
                             float* const* outputs, int32_t threads) {
    return guarded([&] {
        require(encoder != nullptr && input != nullptr && outputs != nullptr,
                "expected encoder, input and outputs, got NULL");
        require(threads > 0, "expected at least 1 thread");
        encoder->encoder.plan(n, h, w, threads)->run(&input, outputs, threads);
    });
}

sovs_status sovs_encoder_plan(const sovs_encoder* encoder, int64_t n, int64_t h, int64_t w, int32_t threads,
                              sovs_plan** out) {
    return guarded([&] {
        require(encoder != nullptr && out != nullptr, "expected encoder and out, got NULL");
        require(threads > 0, "expected at least 1 thread");
        *out = new sovs_plan{encoder->encoder.plan(n, h, w, threads)};
    });
}

void sovs_encoder_destroy(sovs_encoder* encoder) { delete encoder; }

}  // extern "C"
