// The C face of the library: checks what callers pass, and turns exceptions into statuses and messages.
#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "buffer_pool.h"
#include "error.h"
#include "isa.h"
#include "plan.h"
#include "sparse_ovs.h"
#include "thread_pool.h"

struct sovs_weights {
    std::shared_ptr<const sovs::Weights> shared;
};
struct sovs_plan {
    sovs::Plan plan;
};

namespace {

using sovs::require;

thread_local std::string last_error;

template <typename Body>
sovs_status guarded(Body&& body) {
    try {
        body();
        return SOVS_OK;
    } catch (const sovs::InvalidArgument& error) {
        last_error = error.what();
        return SOVS_INVALID_ARGUMENT;
    } catch (const std::bad_alloc&) {
        last_error = "out of memory";
        return SOVS_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
        last_error = error.what();
        return SOVS_INTERNAL_ERROR;
    }
}

void check_sizes(const sovs::Weights::Packed& p) {
    require(p.out_channels > 0 && p.in_channels > 0 && p.kernel_h > 0 && p.kernel_w > 0 && p.groups > 0,
            "expected weight sizes of at least 1");
    require(p.block_rows == 1 || p.block_rows == 4, "expected block_rows of 1 or 4");
    require(p.out_channels % p.groups == 0, "expected out_channels to be a multiple of groups");
    require(p.groups == 1 || p.out_channels / p.groups % p.block_rows == 0,
            "expected the output channels of a group to be a multiple of block_rows");
    const double columns = static_cast<double>(p.in_channels) * p.kernel_h * p.kernel_w;
    require(columns < std::numeric_limits<std::int32_t>::max() && p.out_channels < std::numeric_limits<std::int32_t>::max(),
            "expected fewer than 2**31 rows and columns");
}

// Blocks come tap-major and leave channel-major, the order of the sums: see sparse_ovs.h.
sovs::Weights::Packed repack(const sovs_weights_desc& d) {
    sovs::Weights::Packed p{d.out_channels, d.in_channels, d.kernel_h, d.kernel_w, d.groups, d.block_rows, {}, {}, {}};
    check_sizes(p);
    require(d.index_bits == 16 || d.index_bits == 32, "expected index_bits of 16 or 32");
    require(d.row_ptr != nullptr, "expected row_ptr, got NULL");
    const std::int64_t rows = (p.out_channels + p.block_rows - 1) / p.block_rows;
    p.row_ptr.assign(d.row_ptr, d.row_ptr + rows + 1);
    require(p.row_ptr.front() == 0 && std::is_sorted(p.row_ptr.begin(), p.row_ptr.end()),
            "expected row_ptr to start at 0 and never to fall");
    const std::int64_t blocks = p.row_ptr.back();
    require(blocks == 0 || (d.indices != nullptr && d.values != nullptr), "expected indices and values, got NULL");

    const std::int64_t columns = p.in_channels * p.kernel_h * p.kernel_w, taps = p.kernel_h * p.kernel_w;
    const auto column = [&](std::int64_t block) -> std::int64_t {
        return d.index_bits == 16 ? static_cast<const std::uint16_t*>(d.indices)[block]
                                  : static_cast<const std::int32_t*>(d.indices)[block];
    };
    p.keys.resize(blocks);
    p.values.resize(blocks * p.block_rows);
    std::vector<std::pair<std::uint32_t, std::int64_t>> row;  // key, block
    for (std::int64_t r = 0; r < rows; ++r) {
        row.clear();
        for (std::int64_t block = p.row_ptr[r]; block < p.row_ptr[r + 1]; ++block) {
            const std::int64_t k = column(block);
            require(k >= 0 && k < columns, "expected indices inside the flattened weight");
            row.emplace_back(static_cast<std::uint32_t>(k % p.in_channels * taps + k / p.in_channels), block);
        }
        if (taps > 1) std::sort(row.begin(), row.end());
        for (std::size_t i = 0; i < row.size(); ++i) {
            require(i == 0 || row[i - 1].first < row[i].first, "expected ascending indices, each once in a row");
            const std::int64_t to = p.row_ptr[r] + static_cast<std::int64_t>(i);
            p.keys[to] = row[i].first;
            std::copy_n(d.values + row[i].second * p.block_rows, p.block_rows, &p.values[to * p.block_rows]);
        }
    }
    return p;
}

// Every weight stored, in blocks of 4 where the groups allow it.
sovs::Weights::Packed pack_dense(sovs::Weights::Packed p, const float* weight) {
    check_sizes(p);
    const std::int64_t rows = (p.out_channels + p.block_rows - 1) / p.block_rows;
    const std::int64_t columns = p.in_channels * p.kernel_h * p.kernel_w;
    p.row_ptr.resize(rows + 1);
    for (std::int64_t r = 0; r <= rows; ++r) p.row_ptr[r] = r * columns;
    p.keys.resize(rows * columns);
    p.values.assign(rows * columns * p.block_rows, 0.0f);
    for (std::int64_t r = 0; r < rows; ++r) {
        std::iota(p.keys.begin() + r * columns, p.keys.begin() + (r + 1) * columns, 0u);
        for (std::int64_t b = 0; b < p.block_rows && r * p.block_rows + b < p.out_channels; ++b)
            for (std::int64_t k = 0; k < columns; ++k)
                p.values[(r * columns + k) * p.block_rows + b] = weight[(r * p.block_rows + b) * columns + k];
    }
    return p;
}

}  // namespace

extern "C" {

int32_t sovs_abi_version(void) { return SOVS_ABI_VERSION; }
const char* sovs_last_error(void) { return last_error.c_str(); }

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
        *out = new sovs_weights{std::make_shared<sovs::Weights>(repack(*desc), desc->bias)};
    });
}

sovs_status sovs_weights_create_dense(int64_t out_channels, int64_t in_channels, int64_t kernel_h, int64_t kernel_w,
                                      int64_t groups, const float* weight, const float* bias, sovs_weights** out) {
    return guarded([&] {
        require(weight != nullptr && out != nullptr, "expected weight and out, got NULL");
        require(groups > 0, "expected groups of at least 1");
        const bool fours = groups == 1 || (out_channels / groups) % 4 == 0;
        sovs::Weights::Packed sizes{out_channels, in_channels, kernel_h, kernel_w, groups, fours ? 4 : 1, {}, {}, {}};
        *out = new sovs_weights{std::make_shared<sovs::Weights>(pack_dense(std::move(sizes), weight), bias)};
    });
}

size_t sovs_weights_bytes(const sovs_weights* weights) { return weights == nullptr ? 0 : weights->shared->bytes(); }
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
        require(params->activation >= SOVS_NONE && params->activation <= SOVS_QUICK_GELU,
                "expected an activation of sovs_activation");
        const sovs::ConvParams conv{params->stride_h, params->stride_w, params->pad_h, params->pad_w,
                                    params->dilation_h, params->dilation_w,
                                    static_cast<sovs::Activation>(params->activation)};
        sovs::Tuning wanted;
        if (tuning != nullptr)
            wanted = {tuning->tile_rows, tuning->tile_cols, tuning->k_tile, tuning->row_parts, tuning->panel};
        plan->plan.add_conv2d(weights->shared, conv, wanted, input, residual, output);
    });
}

sovs_status sovs_plan_add_avg_pool2x2(sovs_plan* plan, int32_t input, int32_t output) {
    return guarded([&] {
        require(plan != nullptr, "expected plan, got NULL");
        plan->plan.add_avg_pool2x2(input, output);
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

sovs_status sovs_plan_tuning(const sovs_plan* plan, int32_t step, sovs_tuning* out) {
    return guarded([&] {
        require(plan != nullptr && out != nullptr, "expected plan and out, got NULL");
        const sovs::Tiling& t = plan->plan.tiling(step);
        *out = {t.tile_rows, t.tile_cols, t.k_tile, t.row_parts, static_cast<int64_t>(t.panel) + 1};
    });
}

void sovs_plan_destroy(sovs_plan* plan) { delete plan; }

}  // extern "C"
