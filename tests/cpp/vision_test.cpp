// Steps of transformers and ConvNeXts against double precision: activations, LayerNorm, attention, tokens, depthwise.
#include <cstring>
#include <functional>
#include <string>

#include "problem.h"

namespace {

// Numbers (n, c, p) of a map, wherever its layout puts them.
struct Values {
    std::int64_t n, c, h, w;
    sovs_layout layout;
    std::vector<float> data;

    Values(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w, sovs_layout layout, unsigned seed = 1)
        : n(n), c(c), h(h), w(w), layout(layout), data(n * c * h * w) {
        std::mt19937 generator(seed);
        std::normal_distribution<float> normal(0.0f, 1.0f);
        for (float& v : data) v = normal(generator);
    }
    std::int64_t pixels() const { return h * w; }
    float& at(std::int64_t i, std::int64_t channel, std::int64_t p) {
        return data[layout == SOVS_NCHW ? (i * c + channel) * pixels() + p : (i * pixels() + p) * c + channel];
    }
};

using Add = std::function<sovs_status(sovs_plan*, const std::vector<std::int32_t>& inputs, std::int32_t output)>;

// Runs a plan of the steps that `add` adds, on maps of the caller's.
void run(std::vector<Values*> inputs, Values& output, int threads, const Add& add) {
    sovs_plan* plan = nullptr;
    std::vector<std::int32_t> ids(inputs.size());
    std::int32_t out = -1;
    CHECK(sovs_plan_create(&plan) == SOVS_OK);
    const auto declare = [&](const Values& v, std::int32_t* id) {
        CHECK(sovs_plan_add_tensor(plan, v.n, v.c, v.h, v.w, v.layout, id) == SOVS_OK);
    };
    for (std::size_t i = 0; i < inputs.size(); ++i) declare(*inputs[i], &ids[i]);
    declare(output, &out);
    CHECK_SAYING(add(plan, ids, out) == SOVS_OK, sovs_last_error());
    CHECK_SAYING(sovs_plan_finalize(plan, ids.data(), static_cast<std::int32_t>(ids.size()), &out, 1, threads) == SOVS_OK,
                 sovs_last_error());
    std::vector<const float*> from;
    for (const Values* v : inputs) from.push_back(v->data.data());
    float* to[] = {output.data.data()};
    CHECK_SAYING(sovs_plan_run(plan, from.data(), to, threads) == SOVS_OK, sovs_last_error());
    sovs_plan_destroy(plan);
}

double activated(double x, std::int64_t activation) {
    switch (activation) {
        case SOVS_RELU: return x > 0 ? x : 0;
        case SOVS_GELU: return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
        case SOVS_GELU_TANH: return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
        case SOVS_QUICK_GELU: return x / (1 + std::exp(-1.702 * x));
        default: return x;
    }
}

constexpr sovs_layout kLayouts[] = {SOVS_NCHW, SOVS_NHWC};

}  // namespace

TEST(activations_of_a_convolution_match_double_precision) {
    for (const std::int64_t activation : {SOVS_GELU, SOVS_GELU_TANH, SOVS_QUICK_GELU})
        for (const std::int64_t block_rows : {1, 4})
            for (const sovs_layout layout : kLayouts)
                for (const std::int64_t pixels : {1, 15, 16, 49, 197})
                    for (const bool residual : {false, true})
                        for (const std::int64_t k_tile : {0, 5}) {
                            Problem p;
                            p.n = 2;
                            p.in_channels = 20;
                            p.out_channels = 10;
                            p.h = 1;
                            p.w = pixels;
                            p.block_rows = block_rows;
                            p.layout = layout;
                            p.residual = residual;
                            p.activation = activation;
                            p.tuning.k_tile = k_tile;
                            p.threads = 2;
                            const Data data(p);
                            const std::vector<float> y = run(p, data);
                            Problem plain = p;
                            plain.activation = SOVS_NONE;
                            const std::vector<float> sums = run(plain, data);
                            double worst = 0.0;
                            for (std::size_t i = 0; i < y.size(); ++i)
                                worst = std::fmax(worst, std::fabs(y[i] - activated(sums[i], activation)) /
                                                             (1.0 + std::fabs(sums[i])));
                            CHECK_SAYING(worst <= 5e-7, std::to_string(worst));
                        }
}

TEST(activations_of_extreme_sums_are_those_of_torch) {
    for (const std::int64_t activation : {SOVS_GELU, SOVS_GELU_TANH, SOVS_QUICK_GELU}) {
        Problem p;
        p.in_channels = p.out_channels = p.h = 1;
        p.w = 16;
        p.activation = activation;
        p.bias = false;
        Data data(p);
        data.row_ptr = {0, 1};
        data.indices16 = {0};
        data.values = {1.0f};
        data.x = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 1000.0f, -1000.0f, 88.0f, -88.0f, 0.0f, -0.0f, 1e-30f, -7.0f, 7.0f, -20.0f, 20.0f};
        const std::vector<float> y = run(p, data);
        CHECK(std::isnan(y[0]));
        CHECK(y[1] == INFINITY);
        CHECK(std::isnan(y[2]));
        for (std::size_t i = 3; i < y.size(); ++i)
            CHECK_SAYING(std::fabs(y[i] - activated(data.x[i], activation)) <= 1e-6 * std::fmax(1.0, std::fabs(y[i])),
                         std::to_string(data.x[i]) + " gives " + std::to_string(y[i]));
    }
}

TEST(layer_norm_matches_double_precision_in_both_layouts) {
    for (const sovs_layout layout : kLayouts)
        for (const std::int64_t n : {1, 3})
            for (const std::int64_t channels : {1, 5, 64, 768})
                for (const std::int64_t pixels : {1, 15, 16, 49, 197})
                    for (const float shift : {0.0f, 100.0f}) {
                        Values x(n, channels, 1, pixels, layout), y = x;
                        for (float& v : x.data) v += shift;
                        const Values gamma(1, channels, 1, 1, SOVS_NCHW, 2), beta(1, channels, 1, 1, SOVS_NCHW, 3);
                        run({&x}, y, 2, [&](sovs_plan* plan, const auto& in, std::int32_t out) {
                            return sovs_plan_add_layer_norm(plan, channels, gamma.data.data(), beta.data.data(), 1e-5f, in[0], out);
                        });
                        double worst = 0.0;
                        for (std::int64_t i = 0; i < n; ++i)
                            for (std::int64_t p = 0; p < pixels; ++p) {
                                double mean = 0.0, variance = 0.0;
                                for (std::int64_t c = 0; c < channels; ++c) mean += x.at(i, c, p) / static_cast<double>(channels);
                                for (std::int64_t c = 0; c < channels; ++c)
                                    variance += std::pow(x.at(i, c, p) - mean, 2) / static_cast<double>(channels);
                                for (std::int64_t c = 0; c < channels; ++c) {
                                    const double expected = (x.at(i, c, p) - mean) / std::sqrt(variance + 1e-5f) * gamma.data[c] + beta.data[c];
                                    worst = std::fmax(worst, std::fabs(expected - y.at(i, c, p)));
                                }
                            }
                        // Numbers around 100 carry errors of 4e-6 themselves, and few channels may lie close together.
                        CHECK_SAYING(worst <= (shift == 0.0f ? 3e-6 : 2e-4), std::to_string(worst));
                    }
}

TEST(layer_norm_without_gamma_and_beta_only_normalises) {
    Values x(1, 6, 2, 3, SOVS_NCHW), plain = x, explicit_ones = x;
    const std::vector<float> ones(6, 1.0f), zeros(6, 0.0f);
    run({&x}, plain, 1, [&](sovs_plan* plan, const auto& in, std::int32_t out) {
        return sovs_plan_add_layer_norm(plan, 6, nullptr, nullptr, 1e-5f, in[0], out);
    });
    run({&x}, explicit_ones, 1, [&](sovs_plan* plan, const auto& in, std::int32_t out) {
        return sovs_plan_add_layer_norm(plan, 6, ones.data(), zeros.data(), 1e-5f, in[0], out);
    });
    CHECK(plain.data == explicit_ones.data);
}

namespace {

// Largest error of attention over (n, heads * depth, pixels), relative to the values' size of about 1.
double attention_error(std::int64_t n, std::int64_t heads, std::int64_t depth, std::int64_t pixels, std::int64_t queries,
                       sovs_layout layout, float size, int threads = 2) {
    const std::int64_t channels = heads * depth;
    const bool apart = queries != pixels;
    Values x(n, 3 * channels, 1, pixels, layout), q(n, channels, 1, queries, layout, 2), y(n, channels, 1, queries, layout);
    for (float& v : x.data) v *= size;
    for (float& v : q.data) v *= size;
    const float scale = 1.0f / std::sqrt(static_cast<float>(depth));
    const sovs_attention_params params{heads, depth, 0, channels, 2 * channels, scale};
    std::vector<Values*> inputs{&x};
    if (apart) inputs.push_back(&q);
    run(inputs, y, threads, [&](sovs_plan* plan, const auto& in, std::int32_t out) {
        return sovs_plan_add_attention(plan, &params, in[0], apart ? in[1] : -1, out);
    });
    double worst = 0.0;
    std::vector<double> weight(pixels);
    for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t head = 0; head < heads; ++head)
            for (std::int64_t p = 0; p < queries; ++p) {
                double top = -1e300, total = 0.0;
                for (std::int64_t k = 0; k < pixels; ++k) {
                    weight[k] = 0.0;
                    for (std::int64_t d = 0; d < depth; ++d)
                        weight[k] += static_cast<double>(scale) * (apart ? q : x).at(i, head * depth + d, p) *
                                     x.at(i, channels + head * depth + d, k);
                    top = std::fmax(top, weight[k]);
                }
                for (double& w : weight) total += w = std::exp(w - top);
                for (std::int64_t d = 0; d < depth; ++d) {
                    double sum = 0.0;
                    for (std::int64_t k = 0; k < pixels; ++k) sum += weight[k] / total * x.at(i, 2 * channels + head * depth + d, k);
                    worst = std::fmax(worst, std::fabs(sum - y.at(i, head * depth + d, p)));
                }
            }
    return worst / size;
}

}  // namespace

TEST(attention_matches_double_precision) {
    for (const sovs_layout layout : kLayouts)
        for (const std::int64_t n : {1, 2})
            for (const std::int64_t pixels : {1, 3, 49, 50, 97, 197})
                for (const std::int64_t depth : {1, 7, 64}) {
                    CHECK(attention_error(n, 2, depth, pixels, pixels, layout, 1.0f) <= 2e-6);
                    CHECK(attention_error(n, 2, depth, pixels, 1, layout, 1.0f) <= 2e-6);
                }
}

TEST(attention_with_scores_far_apart_stays_finite) {
    CHECK(attention_error(1, 2, 16, 197, 197, SOVS_NCHW, 20.0f) <= 1e-4);
}

TEST(attention_refuses_channels_past_its_maps) {
    sovs_plan* plan = nullptr;
    std::int32_t in = -1, out = -1;
    sovs_plan_create(&plan);
    sovs_plan_add_tensor(plan, 1, 11, 1, 5, SOVS_NCHW, &in);
    sovs_plan_add_tensor(plan, 1, 4, 1, 5, SOVS_NCHW, &out);
    const sovs_attention_params params{2, 2, 0, 4, 8, 1.0f};
    CHECK(sovs_plan_add_attention(plan, &params, in, -1, out) == SOVS_OK);
    CHECK(sovs_plan_finalize(plan, &in, 1, &out, 1, 1) == SOVS_INVALID_ARGUMENT);
    CHECK(std::strstr(sovs_last_error(), "channels of all heads") != nullptr);
    sovs_plan_destroy(plan);
}

TEST(tokens_are_pixels_behind_class_tokens_plus_constants) {
    for (const sovs_layout layout : kLayouts)
        for (const bool mean : {false, true})
            for (const std::int64_t extra : {0, 1, 2}) {
                const std::int64_t n = 2, c = 37, pixels = 6, tokens = pixels + extra;
                Values x(n, c, 2, 3, layout), y(n, c, 1, tokens, layout), constants(1, c, 1, tokens, SOVS_NHWC, 5);
                run({&x}, y, 2, [&](sovs_plan* plan, const auto& in, std::int32_t out) {
                    return sovs_plan_add_tokens(plan, tokens, c, constants.data.data(), mean, in[0], out);
                });
                double worst = 0.0;
                for (std::int64_t i = 0; i < n; ++i)
                    for (std::int64_t channel = 0; channel < c; ++channel)
                        for (std::int64_t t = 0; t < tokens; ++t) {
                            double expected = constants.at(0, channel, t);
                            if (t >= extra) expected += x.at(i, channel, t - extra);
                            for (std::int64_t p = 0; p < pixels && mean && t < extra; ++p) expected += x.at(i, channel, p) / 6.0;
                            worst = std::fmax(worst, std::fabs(expected - y.at(i, channel, t)));
                        }
                CHECK(worst <= 1e-6);
            }
}

TEST(a_crop_takes_pixels_of_each_image) {
    for (const sovs_layout layout : kLayouts)
        for (const std::int64_t first : {0, 1, 3}) {
            Values x(3, 21, 1, 7, layout), y(3, 21, 2, 2, layout);
            run({&x}, y, 2, [&](sovs_plan* plan, const auto& in, std::int32_t out) {
                return sovs_plan_add_crop(plan, first, in[0], out);
            });
            for (std::int64_t i = 0; i < 3; ++i)
                for (std::int64_t c = 0; c < 21; ++c)
                    for (std::int64_t p = 0; p < 4; ++p) CHECK(y.at(i, c, p) == x.at(i, c, first + p));
        }
}

TEST(depthwise_convolutions_match_double_precision) {
    for (const sovs_layout layout : kLayouts)
        for (const std::int64_t kernel : {1, 3, 7})
            for (const std::int64_t pad : {0, 3})
                for (const std::int64_t dilation : {1, 2})
                    for (const auto& [h, w] : {std::pair{7, 7}, {14, 9}, {20, 33}, {40, 13}})
                        for (const bool residual : {false, true}) {
                            Problem p;
                            p.n = 2;
                            p.groups = p.in_channels = p.out_channels = 11;
                            p.kernel_h = p.kernel_w = kernel;
                            p.dilation_h = p.dilation_w = dilation;
                            p.pad_h = p.pad_w = pad;
                            p.h = h;
                            p.w = w;
                            p.layout = layout;
                            p.residual = residual;
                            p.activation = residual ? SOVS_RELU : SOVS_NONE;
                            p.threads = 2;
                            if (p.out_h() > 0 && p.out_w() > 0) expect_right(p, "depthwise");
                        }
}
