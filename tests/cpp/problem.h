// A convolution with everything that can vary, run through the C API and through a plain loop in double precision.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "records.h"

struct Problem {
    std::int64_t n = 1, in_channels = 8, h = 8, w = 8;
    std::int64_t out_channels = 8, kernel_h = 1, kernel_w = 1, groups = 1;
    std::int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1;
    double density = 0.3;
    std::int64_t block_rows = 1;
    bool bias = true, residual = false, wide_index = false;
    std::int64_t activation = SOVS_NONE;
    sovs_layout layout = SOVS_NCHW;
    bool residual_in_other_layout = false;
    sovs_tuning tuning = kLibraryChooses;
    int threads = 1;
    unsigned seed = 1;

    std::int64_t out_h() const { return (h + 2 * pad_h - dilation_h * (kernel_h - 1) - 1) / stride_h + 1; }
    std::int64_t out_w() const { return (w + 2 * pad_w - dilation_w * (kernel_w - 1) - 1) / stride_w + 1; }
    sovs_conv2d_params params() const {
        return {sizeof(sovs_conv2d_params), stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, activation};
    }
    std::int64_t group_in() const { return in_channels / groups; }
    std::int64_t columns() const { return kernel_h * kernel_w * group_in(); }
    std::int64_t block_row_count() const { return (out_channels + block_rows - 1) / block_rows; }
    std::int64_t in_at(std::int64_t i, std::int64_t c, std::int64_t y, std::int64_t x) const {
        return layout == SOVS_NCHW ? ((i * in_channels + c) * h + y) * w + x : ((i * h + y) * w + x) * in_channels + c;
    }
    sovs_layout residual_layout() const {
        return (layout == SOVS_NCHW) == residual_in_other_layout ? SOVS_NHWC : SOVS_NCHW;
    }
    std::int64_t out_at(std::int64_t i, std::int64_t o, std::int64_t y, std::int64_t x) const {
        return at_in(layout, i, o, y, x);
    }
    std::int64_t residual_at(std::int64_t i, std::int64_t o, std::int64_t y, std::int64_t x) const {
        return at_in(residual_layout(), i, o, y, x);
    }
    std::int64_t at_in(sovs_layout order, std::int64_t i, std::int64_t o, std::int64_t y, std::int64_t x) const {
        return order == SOVS_NCHW ? ((i * out_channels + o) * out_h() + y) * out_w() + x
                                  : ((i * out_h() + y) * out_w() + x) * out_channels + o;
    }
};

inline std::string name_of(const Problem& p) {
    const auto s = [](std::int64_t v) { return std::to_string(v) + " "; };
    return "n " + s(p.n) + "in " + s(p.in_channels) + s(p.h) + s(p.w) + "out " + s(p.out_channels) + "kernel " +
           s(p.kernel_h) + s(p.kernel_w) + "groups " + s(p.groups) + "stride " + s(p.stride_h) + s(p.stride_w) +
           "pad " + s(p.pad_h) + s(p.pad_w) + "dilation " + s(p.dilation_h) + s(p.dilation_w) + "block " +
           s(p.block_rows) + "layout " + s(p.layout) + "residual " + s(p.residual) + s(p.residual_in_other_layout) +
           "activation " + s(p.activation) + "tuning " + s(p.tuning.tile_rows) + s(p.tuning.tile_cols) +
           s(p.tuning.k_tile) + s(p.tuning.row_parts) + s(p.tuning.panel) + "seed " + s(p.seed);
}

// Of any shape, all of them reachable by a seed.
inline Problem random_problem(unsigned seed) {
    std::mt19937 g(seed);
    const auto pick = [&](std::initializer_list<std::int64_t> values) {
        return *(values.begin() + g() % values.size());
    };
    Problem p;
    p.seed = seed;
    p.n = pick({1, 1, 2, 3});
    p.groups = pick({1, 1, 1, 2});
    p.block_rows = pick({1, 4});
    p.in_channels = p.groups * pick({1, 3, 7, 16, 33});
    p.out_channels = p.groups > 1 ? p.groups * 4 * pick({1, 3}) : pick({1, 4, 5, 18, 32});
    p.kernel_h = pick({1, 1, 2, 3, 3, 5});
    p.kernel_w = pick({1, 1, 2, 3, 3, 4});
    if (g() % 3 == 0) p.kernel_h = p.kernel_w = 1;
    p.stride_h = pick({1, 1, 1, 2, 3});
    p.stride_w = pick({1, 1, 1, 2, 3});
    p.dilation_h = pick({1, 1, 2});
    p.dilation_w = pick({1, 1, 3});
    p.pad_h = pick({0, 1, 2});
    p.pad_w = pick({0, 1, 3});
    p.h = std::max<std::int64_t>(pick({1, 2, 7, 13, 20}), p.dilation_h * (p.kernel_h - 1) + 1 - 2 * p.pad_h);
    p.w = std::max<std::int64_t>(pick({1, 3, 7, 17, 40}), p.dilation_w * (p.kernel_w - 1) + 1 - 2 * p.pad_w);
    p.bias = g() % 2;
    p.residual = g() % 2;
    p.activation = g() % 2 ? SOVS_RELU : SOVS_NONE;
    p.wide_index = g() % 2;
    p.layout = g() % 2 ? SOVS_NCHW : SOVS_NHWC;
    p.density = 0.05 * static_cast<double>(g() % 20);
    p.threads = static_cast<int>(pick({1, 2, 3}));
    if (g() % 2)
        p.tuning = {sizeof(sovs_tuning), pick({0, 1, 2, 3}), pick({0, 1, 5, 16, 100}),
                    pick({0, 1, 4, 16}), pick({0, 1, 2, 5}), pick({0, 1, 2, 3})};
    p.residual_in_other_layout = g() % 2;
    return p;
}

// Activations and packed weights of a problem. Buffers are exactly as large as the shapes say, so that the address
// sanitizer sees any access past them.
struct Data {
    std::vector<float> x, residual, bias, values, dense;  // dense: (out_channels, columns), tap-major
    std::vector<std::int32_t> row_ptr{0}, indices32;
    std::vector<std::uint16_t> indices16;

    explicit Data(const Problem& p) {
        std::mt19937 generator(p.seed);
        std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
        std::uniform_real_distribution<double> chance(0.0, 1.0);
        x.resize(p.n * p.in_channels * p.h * p.w);
        for (float& v : x) v = uniform(generator);
        residual.resize(p.n * p.out_channels * p.out_h() * p.out_w());
        for (float& v : residual) v = uniform(generator);
        bias.resize(p.out_channels);
        for (float& v : bias) v = uniform(generator);
        dense.assign(p.out_channels * p.columns(), 0.0f);
        for (std::int64_t row = 0; row < p.block_row_count(); ++row) {
            // Every third row is empty and every fifth is full: both must work beside ordinary ones.
            const double density = row % 3 == 2 ? 0.0 : row % 5 == 4 ? 1.0 : p.density;
            for (std::int64_t k = 0; k < p.columns(); ++k) {
                if (chance(generator) >= density) continue;
                indices32.push_back(static_cast<std::int32_t>(k));
                for (std::int64_t b = 0; b < p.block_rows; ++b) {
                    const std::int64_t o = row * p.block_rows + b;
                    values.push_back(o < p.out_channels ? uniform(generator) : 0.0f);
                    if (o < p.out_channels) dense[o * p.columns() + k] = values.back();
                }
            }
            row_ptr.push_back(static_cast<std::int32_t>(indices32.size()));
        }
        indices16.assign(indices32.begin(), indices32.end());
    }

    sovs_weights* weights(const Problem& p) const {
        const sovs_weights_desc desc{sizeof desc,
                                     p.out_channels,
                                     p.group_in(),
                                     p.kernel_h,
                                     p.kernel_w,
                                     p.groups,
                                     p.block_rows,
                                     row_ptr.data(),
                                     p.wide_index ? static_cast<const void*>(indices32.data()) : indices16.data(),
                                     p.wide_index ? 32 : 16,
                                     values.data(),
                                     SOVS_F32,
                                     nullptr,
                                     p.bias ? bias.data() : nullptr};
        sovs_weights* created = nullptr;
        CHECK_SAYING(sovs_weights_create(&desc, &created) == SOVS_OK, sovs_last_error());
        return created;
    }
};

// Of the problem's sizes; weight: (out_channels, in_channels of a group, kernel_h, kernel_w).
inline sovs_weights* dense_weights(const Problem& p, const std::vector<float>& weight, const float* bias) {
    const sovs_weights_desc desc{
        sizeof desc, p.out_channels, p.group_in(), p.kernel_h, p.kernel_w, p.groups, 0, nullptr, nullptr,
        0,           weight.data(),  SOVS_F32,     nullptr,    bias};
    sovs_weights* created = nullptr;
    CHECK_SAYING(sovs_weights_create(&desc, &created) == SOVS_OK, sovs_last_error());
    return created;
}

inline sovs_plan* plan_of(const Problem& p, const sovs_weights* weights) {
    Records records;
    records.inputs.push_back(map_of(p.n, p.in_channels, p.h, p.w, p.layout));
    std::vector<std::string> read{"in0"};
    if (p.residual) {
        records.inputs.push_back(map_of(p.n, p.out_channels, p.out_h(), p.out_w(), p.residual_layout()));
        read.push_back("in1");
    }
    records.use("conv", weights);
    records.step("conv2d", "conv", read, conv_members(p.params(), p.tuning));
    records.output("conv", p.layout);
    sovs_plan* plan = nullptr;
    CHECK_SAYING(records.make(&plan, p.threads) == SOVS_OK, sovs_last_error());
    return plan;
}

inline std::vector<float> run(const Problem& p, const Data& data, const sovs_plan* plan) {
    std::vector<float> y(p.n * p.out_channels * p.out_h() * p.out_w(), -77.0f);
    std::vector<sovs_buffer> inputs{buffer_of(data.x)};
    if (p.residual) inputs.push_back(buffer_of(data.residual));
    CHECK_SAYING(run_plan(plan, inputs, {buffer_of(y)}, p.threads) == SOVS_OK, sovs_last_error());
    return y;
}

inline std::vector<float> run(const Problem& p, const Data& data) {
    sovs_weights* weights = data.weights(p);
    sovs_plan* plan = plan_of(p, weights);
    sovs_weights_destroy(weights);  // the plan keeps what it needs
    std::vector<float> y = run(p, data, plan);
    sovs_plan_destroy(plan);
    return y;
}

// Largest error against the double-precision loop, as a multiple of what fp32 sums of that length may lose.
inline double worst_error(const Problem& p, const Data& data, const std::vector<float>& y) {
    double worst = 0.0;
    for (std::int64_t i = 0; i < p.n; ++i)
        for (std::int64_t o = 0; o < p.out_channels; ++o)
            for (std::int64_t oy = 0; oy < p.out_h(); ++oy)
                for (std::int64_t ox = 0; ox < p.out_w(); ++ox) {
                    double sum = p.bias ? data.bias[o] : 0.0, size = std::fabs(sum);
                    const std::int64_t first = o / (p.out_channels / p.groups) * p.group_in();
                    for (std::int64_t ky = 0; ky < p.kernel_h; ++ky)
                        for (std::int64_t kx = 0; kx < p.kernel_w; ++kx) {
                            const std::int64_t iy = oy * p.stride_h + ky * p.dilation_h - p.pad_h;
                            const std::int64_t ix = ox * p.stride_w + kx * p.dilation_w - p.pad_w;
                            if (iy < 0 || iy >= p.h || ix < 0 || ix >= p.w) continue;
                            for (std::int64_t c = 0; c < p.group_in(); ++c) {
                                const double product =
                                    static_cast<double>(
                                        data.dense[o * p.columns() + (ky * p.kernel_w + kx) * p.group_in() + c]) *
                                    data.x[p.in_at(i, first + c, iy, ix)];
                                sum += product;
                                size += std::fabs(product);
                            }
                        }
                    const std::int64_t at = p.out_at(i, o, oy, ox);
                    if (p.residual) {
                        const float added = data.residual[p.residual_at(i, o, oy, ox)];
                        sum += added;
                        size += std::fabs(added);
                    }
                    if (p.activation == SOVS_RELU && sum < 0) sum = 0;
                    worst = std::fmax(worst, std::fabs(sum - y[at]) / (1e-6 * (size + 1.0)));
                }
    return worst;
}

inline void expect_right(const Problem& p, const char* what) {
    const Data data(p);
    const double error = worst_error(p, data, run(p, data));
    CHECK_SAYING(error <= 1.0, std::string(what) + ": error " + std::to_string(error) + " times the bound");
}
