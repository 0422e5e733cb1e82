// Steps of transformers, ConvNeXts and pyramids against double precision: activations, LayerNorm, attention, tokens,
// depthwise, upsampling.
#include <cstdio>
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

// The number to the bit.
std::string exact(float number) {
    char text[32];
    std::snprintf(text, sizeof text, "%.9g", static_cast<double>(number));
    return text;
}

// Runs a plan of one record, whose tensors `records` holds, on maps of the caller's.
void run(Records& records, const std::string& op, const std::string& members, std::vector<Values*> inputs,
         Values& output, int threads) {
    std::vector<std::string> read;
    std::vector<sovs_buffer> buffers;
    for (const Values* v : inputs) {
        read.push_back("in" + std::to_string(records.inputs.size()));
        records.inputs.push_back(map_of(v->n, v->c, v->h, v->w, v->layout));
        buffers.push_back(buffer_of(v->data));
    }
    records.step(op, "step", read, members);
    records.output("step", output.layout);
    sovs_plan* plan = nullptr;
    CHECK_SAYING(records.make(&plan, threads) == SOVS_OK, sovs_last_error());
    const sovs_step_info made = last_step(plan);
    CHECK(made.n == output.n && made.c == output.c && made.h == output.h && made.w == output.w);
    CHECK_SAYING(run_plan(plan, buffers, {buffer_of(output.data)}, threads) == SOVS_OK, sovs_last_error());
    sovs_plan_destroy(plan);
}

std::string attention_members(std::int64_t heads, std::int64_t depth, const std::vector<std::int64_t>& first,
                              float scale) {
    return ", \"heads\": " + std::to_string(heads) + ", \"head_channels\": " + std::to_string(depth) +
           ", \"first\": " + numbers(first) + ", \"scale\": " + exact(scale);
}

double activated(double x, std::int64_t activation) {
    switch (activation) {
        case SOVS_RELU: return x > 0 ? x : 0;
        case SOVS_GELU: return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
        case SOVS_GELU_TANH: return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
        case SOVS_QUICK_GELU: return x / (1 + std::exp(-1.702 * x));
        case SOVS_RELU6: return std::clamp(x, 0.0, 6.0);
        default: return x;
    }
}

constexpr sovs_layout kLayouts[] = {SOVS_NCHW, SOVS_NHWC};

}  // namespace

TEST(activations_of_a_convolution_match_double_precision) {
    for (const std::int64_t activation : {SOVS_GELU, SOVS_GELU_TANH, SOVS_QUICK_GELU, SOVS_RELU6})
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
    for (const std::int64_t activation : {SOVS_GELU, SOVS_GELU_TANH, SOVS_QUICK_GELU, SOVS_RELU6}) {
        Problem p;
        p.in_channels = p.out_channels = p.h = 1;
        p.w = 16;
        p.activation = activation;
        p.bias = false;
        Data data(p);
        data.row_ptr = {0, 1};
        data.indices16 = {0};
        data.values = {1.0f};
        data.x = {NAN,    INFINITY, -INFINITY, 1e30f,  -1e30f, 1000.0f, -1000.0f, 88.0f,
                  -88.0f, 0.0f,     -0.0f,     1e-30f, -7.0f,  7.0f,    -20.0f,   20.0f};
        const std::vector<float> y = run(p, data);
        CHECK(std::isnan(y[0]));
        const bool bounded = activation == SOVS_RELU6;  // the others give x times 0 or 1
        CHECK(y[1] == (bounded ? 6.0f : INFINITY));
        CHECK(bounded ? y[2] == 0.0f : std::isnan(y[2]));
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
                        Records records;
                        records.tensor("step.gamma", gamma.data, {channels});
                        records.tensor("step.beta", beta.data, {channels});
                        run(records, "layer_norm", ", \"eps\": 1e-5", {&x}, y, 2);
                        double worst = 0.0;
                        for (std::int64_t i = 0; i < n; ++i)
                            for (std::int64_t p = 0; p < pixels; ++p) {
                                double mean = 0.0, variance = 0.0;
                                for (std::int64_t c = 0; c < channels; ++c)
                                    mean += x.at(i, c, p) / static_cast<double>(channels);
                                for (std::int64_t c = 0; c < channels; ++c)
                                    variance += std::pow(x.at(i, c, p) - mean, 2) / static_cast<double>(channels);
                                for (std::int64_t c = 0; c < channels; ++c) {
                                    const double expected =
                                        (x.at(i, c, p) - mean) / std::sqrt(variance + 1e-5f) * gamma.data[c] +
                                        beta.data[c];
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
    Records without, with;
    run(without, "layer_norm", ", \"eps\": 1e-5", {&x}, plain, 1);
    with.tensor("step.gamma", ones, {6});
    with.tensor("step.beta", zeros, {6});
    run(with, "layer_norm", ", \"eps\": 1e-5", {&x}, explicit_ones, 1);
    CHECK(plain.data == explicit_ones.data);
}

namespace {

// Largest error of attention over (n, heads * depth, pixels), relative to the values' size of about 1.
double attention_error(std::int64_t n, std::int64_t heads, std::int64_t depth, std::int64_t pixels,
                       std::int64_t queries, sovs_layout layout, float size, int threads = 2) {
    const std::int64_t channels = heads * depth;
    const bool apart = queries != pixels;
    Values x(n, 3 * channels, 1, pixels, layout), q(n, channels, 1, queries, layout, 2),
        y(n, channels, 1, queries, layout);
    for (float& v : x.data) v *= size;
    for (float& v : q.data) v *= size;
    const float scale = 1.0f / std::sqrt(static_cast<float>(depth));
    std::vector<Values*> inputs{&x};
    if (apart) inputs.push_back(&q);
    Records records;
    run(records, "attention", attention_members(heads, depth, {0, channels, 2 * channels}, scale), inputs, y, threads);
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
                    for (std::int64_t k = 0; k < pixels; ++k)
                        sum += weight[k] / total * x.at(i, 2 * channels + head * depth + d, k);
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
    const auto attempt = [](std::int64_t channels, std::int64_t own, const std::vector<std::int64_t>& first) {
        Records records;
        records.inputs.push_back(map_of(1, channels, 1, 5));
        if (own > 0) records.inputs.push_back(map_of(1, own, 1, 5));
        std::vector<std::string> read{"in0"};
        if (own > 0) read.push_back("in1");
        records.step("attention", "step", read, attention_members(2, 2, first, 1.0f));
        records.output("step");
        return records.attempt();
    };
    CHECK(attempt(12, 0, {0, 4, 8}) == SOVS_OK);
    CHECK(refused(attempt(11, 0, {0, 4, 8}), "channels of all heads"));
    CHECK(refused(attempt(12, 0, {9, 4, 8}), "channels of all heads"));
    CHECK(attempt(8, 4, {0, 0, 4}) == SOVS_OK);
    CHECK(refused(attempt(8, 3, {0, 0, 4}), "channels of all heads"));
    CHECK(refused(attempt(8, 4, {0, 0, 5}), "channels of all heads"));
}

TEST(tokens_are_pixels_behind_class_tokens_plus_constants) {
    for (const sovs_layout layout : kLayouts)
        for (const bool mean : {false, true})
            for (const std::int64_t extra : {0, 1, 2}) {
                const std::int64_t n = 2, c = 37, pixels = 6, tokens = pixels + extra;
                Values x(n, c, 2, 3, layout), y(n, c, 1, tokens, layout), constants(1, c, 1, tokens, SOVS_NHWC, 5);
                Records records;
                records.tensor("step.constants", constants.data, {tokens, c});
                run(records, "tokens", mean ? ", \"mean\": true" : ", \"mean\": false", {&x}, y, 2);
                double worst = 0.0;
                for (std::int64_t i = 0; i < n; ++i)
                    for (std::int64_t channel = 0; channel < c; ++channel)
                        for (std::int64_t t = 0; t < tokens; ++t) {
                            double expected = constants.at(0, channel, t);
                            if (t >= extra) expected += x.at(i, channel, t - extra);
                            for (std::int64_t p = 0; p < pixels && mean && t < extra; ++p)
                                expected += x.at(i, channel, p) / 6.0;
                            worst = std::fmax(worst, std::fabs(expected - y.at(i, channel, t)));
                        }
                CHECK(worst <= 1e-6);
            }
}

TEST(tokens_refuse_constants_that_do_not_fit) {
    const auto attempt = [](std::int64_t width, const std::vector<std::int64_t>& shape) {
        Records records;
        records.inputs.push_back(map_of(1, 3, 2, width));
        const std::vector<float> constants(shape[0] * (shape.size() > 1 ? shape[1] : 1));
        records.tensor("step.constants", constants, shape);
        records.step("tokens", "step", {"in0"}, ", \"mean\": false");
        records.output("step");
        return records.attempt();
    };
    CHECK(attempt(2, {4, 3}) == SOVS_OK);
    CHECK(refused(attempt(3, {4, 3}), "at least as many tokens as pixels in step"));
    CHECK(refused(attempt(2, {4, 2}), "constants for each token in step"));
    CHECK(refused(attempt(2, {12}), "two dimensions of step.constants"));
}

TEST(a_crop_takes_pixels_of_each_image) {
    for (const sovs_layout layout : kLayouts)
        for (const std::int64_t first : {0, 1, 3}) {
            Values x(3, 21, 1, 7, layout), y(3, 21, 2, 2, layout);
            Records records;
            run(records, "crop", ", \"first\": " + std::to_string(first) + ", \"size\": [2, 2]", {&x}, y, 2);
            for (std::int64_t i = 0; i < 3; ++i)
                for (std::int64_t c = 0; c < 21; ++c)
                    for (std::int64_t p = 0; p < 4; ++p) CHECK(y.at(i, c, p) == x.at(i, c, first + p));
        }
}

TEST(a_crop_outside_its_input_is_refused) {
    const auto attempt = [](const std::string& first, const std::string& size) {
        Records records;
        records.inputs.push_back(map_of(2, 3, 1, 7));
        records.step("crop", "step", {"in0"}, ", \"first\": " + first + ", \"size\": " + size);
        records.output("step");
        return records.attempt();
    };
    CHECK(attempt("3", "[2, 2]") == SOVS_OK);
    CHECK(refused(attempt("4", "[2, 2]"), "a crop inside the input in step"));
    CHECK(refused(attempt("0", "[1, 8]"), "a crop inside the input in step"));
    CHECK(refused(attempt("0", "[1048576, 1048576]"), "a crop inside the input in step"));
    CHECK(refused(attempt("-1", "[2, 2]"), "first from 0"));
    CHECK(refused(attempt("0", "[0, 2]"), "size from 1"));
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

TEST(upsampling_doubles_every_pixel_and_adds_the_map_beside_it_in_both_layouts) {
    for (const sovs_layout layout : kLayouts)
        for (const sovs_layout other : kLayouts)
            for (const std::int64_t channels : {1, 16, 21})
                for (const auto& [h, w] : {std::pair{1, 1}, {1, 17}, {8, 8}, {33, 40}})
                    for (const bool residual : {false, true}) {
                        Values x(2, channels, h, w, layout), y(2, channels, 2 * h, 2 * w, other);
                        Values fine(2, channels, 2 * h, 2 * w, layout, 2);
                        std::vector<Values*> inputs{&x};
                        if (residual) inputs.push_back(&fine);
                        Records records;
                        run(records, "upsample2x", "", inputs, y, 2);
                        for (std::int64_t i = 0; i < 2; ++i)
                            for (std::int64_t c = 0; c < channels; ++c)
                                for (std::int64_t p = 0; p < 4 * h * w; ++p) {
                                    const std::int64_t row = p / (2 * w), col = p % (2 * w);
                                    const float coarse = x.at(i, c, row / 2 * w + col / 2);
                                    CHECK(y.at(i, c, p) == (residual ? coarse + fine.at(i, c, p) : coarse));
                                }
                    }
}

TEST(upsampling_refuses_to_add_a_map_of_another_shape) {
    const auto attempt = [](std::int64_t n, std::int64_t channels, std::int64_t width) {
        Records records;
        records.inputs.push_back(map_of(1, 3, 4, 5));
        records.inputs.push_back(map_of(n, channels, 8, width));
        records.step("upsample2x", "step", {"in0", "in1"});
        records.output("step");
        return records.attempt();
    };
    CHECK(attempt(1, 3, 10) == SOVS_OK);
    CHECK(refused(attempt(1, 3, 5), "a residual of the output's size in step"));
    CHECK(refused(attempt(1, 2, 10), "a residual with 3 channels, got 2 in step"));
    CHECK(refused(attempt(2, 3, 10), "inputs of one batch in step"));
}
