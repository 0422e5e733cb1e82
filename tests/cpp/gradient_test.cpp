// Gradients of sparse convolutions against double precision, and weights whose values change under their plans.
#include <algorithm>
#include <limits>
#include <string>

#include "problem.h"

namespace {

std::vector<float> random_output(const Problem& p, unsigned seed) {
    std::mt19937 generator(seed);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    std::vector<float> grad(p.n * p.out_channels * p.out_h() * p.out_w());
    for (float& v : grad) v = uniform(generator);
    return grad;
}

std::vector<float> weight_gradient(const Problem& p, const Data& data, const std::vector<float>& grad) {
    sovs_weights* weights = data.weights(p);
    const sovs_conv2d_params params = p.params();
    sovs_weight_gradient* gradient = nullptr;
    CHECK_SAYING(sovs_weight_gradient_create(weights, &params, &p.tuning, p.n, p.h, p.w, p.layout, p.threads,
                                             &gradient) == SOVS_OK,
                 sovs_last_error());
    sovs_weights_destroy(weights);  // the gradient keeps what it needs
    std::vector<float> out(p.out_channels * p.columns(), -77.0f);
    CHECK_SAYING(sovs_weight_gradient_run(gradient, data.x.data(), grad.data(), out.data(), p.threads) == SOVS_OK,
                 sovs_last_error());
    sovs_weight_gradient_destroy(gradient);
    return out;
}

// Calls body(output, output channel, input, input channel of the group, tap) for every product of the convolution; outputs
// and inputs by their places in memory.
template <typename Body>
void each_product(const Problem& p, Body&& body) {
    for (std::int64_t i = 0; i < p.n; ++i)
        for (std::int64_t o = 0; o < p.out_channels; ++o)
            for (std::int64_t oy = 0; oy < p.out_h(); ++oy)
                for (std::int64_t ox = 0; ox < p.out_w(); ++ox)
                    for (std::int64_t ky = 0; ky < p.kernel_h; ++ky)
                        for (std::int64_t kx = 0; kx < p.kernel_w; ++kx) {
                            const std::int64_t y = oy * p.stride_h + ky * p.dilation_h - p.pad_h;
                            const std::int64_t x = ox * p.stride_w + kx * p.dilation_w - p.pad_w;
                            if (y < 0 || y >= p.h || x < 0 || x >= p.w) continue;
                            const std::int64_t first = o / (p.out_channels / p.groups) * p.group_in();
                            for (std::int64_t c = 0; c < p.group_in(); ++c)
                                body(p.out_at(i, o, oy, ox), o, p.in_at(i, first + c, y, x), c, ky * p.kernel_w + kx);
                        }
}

struct Sum {
    double sum = 0.0, size = 0.0;
    void add(double product) {
        sum += product;
        size += std::fabs(product);
    }
    // As a multiple of what fp32 sums of that length may lose.
    double error(float found) const { return std::fabs(sum - found) / (1e-6 * (size + 1.0)); }
};

// Where weights are stored, by (out channel, in channel, tap).
std::vector<bool> stored(const Problem& p, const Data& data) {
    std::vector<bool> is(p.out_channels * p.columns(), false);
    for (std::int64_t row = 0; row < p.block_row_count(); ++row)
        for (std::int32_t b = data.row_ptr[row]; b < data.row_ptr[row + 1]; ++b)
            for (std::int64_t o = row * p.block_rows; o < std::min(p.out_channels, (row + 1) * p.block_rows); ++o) {
                const std::int64_t tap = data.indices32[b] / p.group_in(), c = data.indices32[b] % p.group_in();
                is[o * p.columns() + c * p.kernel_h * p.kernel_w + tap] = true;
            }
    return is;
}

// The dense weight as torch holds it, (out channel, in channel, tap).
std::vector<float> channel_major(const Problem& p, const std::vector<float>& tap_major) {
    std::vector<float> moved(tap_major.size());
    const std::int64_t taps = p.kernel_h * p.kernel_w;
    for (std::int64_t o = 0; o < p.out_channels; ++o)
        for (std::int64_t k = 0; k < p.columns(); ++k)
            moved[o * p.columns() + k % p.group_in() * taps + k / p.group_in()] = tap_major[o * p.columns() + k];
    return moved;
}

void expect_right_weight_gradient(const Problem& p) {
    const Data data(p);
    const std::vector<float> grad = random_output(p, p.seed + 100), found = weight_gradient(p, data, grad);
    std::vector<Sum> sums(found.size());
    each_product(p, [&](std::int64_t out, std::int64_t o, std::int64_t in, std::int64_t c, std::int64_t tap) {
        sums[o * p.columns() + c * p.kernel_h * p.kernel_w + tap].add(static_cast<double>(grad[out]) * data.x[in]);
    });
    const std::vector<bool> is_stored = stored(p, data);
    for (std::size_t k = 0; k < found.size(); ++k) {
        if (is_stored[k])
            CHECK_SAYING(sums[k].error(found[k]) <= 1.0, name_of(p));
        else
            CHECK_SAYING(found[k] == 0.0f, name_of(p));
    }
}

// Of a convolution of stride 1, whose padding is at most that of the gradient's.
Problem transposed(const Problem& p) {
    Problem t = p;
    t.in_channels = p.out_channels;
    t.out_channels = p.in_channels;
    t.h = p.out_h();
    t.w = p.out_w();
    t.pad_h = p.dilation_h * (p.kernel_h - 1) - p.pad_h;
    t.pad_w = p.dilation_w * (p.kernel_w - 1) - p.pad_w;
    t.bias = t.residual = false;
    t.activation = SOVS_NONE;
    return t;
}

std::vector<float> run_on(const Problem& p, const sovs_plan* plan, const std::vector<float>& x) {
    std::vector<float> y(p.n * p.out_channels * p.out_h() * p.out_w(), -77.0f);
    CHECK_SAYING(run_plan(plan, {buffer_of(x)}, {buffer_of(y)}, p.threads) == SOVS_OK, sovs_last_error());
    return y;
}

sovs_weights* transposed_weights(const Problem& p, const Data& data) {
    sovs_weights *weights = data.weights(p), *made = nullptr;
    CHECK_SAYING(sovs_weights_transpose(weights, &made) == SOVS_OK, sovs_last_error());
    sovs_weights_destroy(weights);
    return made;
}

void expect_right_input_gradient(const Problem& p) {
    const Data data(p);
    const Problem t = transposed(p);
    sovs_weights* weights = transposed_weights(p, data);
    sovs_plan* plan = plan_of(t, weights);
    sovs_weights_destroy(weights);
    const std::vector<float> grad = random_output(p, p.seed + 100), found = run_on(t, plan, grad);
    sovs_plan_destroy(plan);
    std::vector<Sum> sums(found.size());
    const std::vector<float> weight = channel_major(p, data.dense);
    each_product(p, [&](std::int64_t out, std::int64_t o, std::int64_t in, std::int64_t c, std::int64_t tap) {
        sums[in].add(static_cast<double>(weight[o * p.columns() + c * p.kernel_h * p.kernel_w + tap]) * grad[out]);
    });
    for (std::size_t i = 0; i < found.size(); ++i) CHECK_SAYING(sums[i].error(found[i]) <= 1.0, name_of(p));
}

Problem training_problem(std::int64_t block_rows, std::int64_t groups) {
    Problem p;
    p.n = 2;
    p.block_rows = block_rows;
    p.groups = groups;
    p.in_channels = 20 * groups;
    p.out_channels = groups == 1 ? 18 : 12 * groups;
    p.h = 11;
    p.w = 19;
    p.kernel_h = p.kernel_w = 3;
    p.pad_h = p.pad_w = 1;
    return p;
}

}  // namespace

TEST(weight_gradients_of_every_random_problem_match_double_precision) {
    for (unsigned seed = 1; seed <= 400; ++seed) expect_right_weight_gradient(random_problem(seed));
}

TEST(weight_gradients_below_at_and_above_whole_vectors_match_double_precision) {
    for (const std::int64_t block_rows : {1, 4})
        for (const std::int64_t kernel : {1, 3})
            for (const std::int64_t width : {1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 200}) {
                Problem p = training_problem(block_rows, 1);
                p.kernel_h = p.kernel_w = kernel;
                p.pad_h = p.pad_w = kernel / 2;
                p.h = 3;
                p.w = width;
                expect_right_weight_gradient(p);
            }
}

TEST(weight_gradients_of_many_pixels_match_double_precision) {
    // Enough of them for several chunks, the last one shorter.
    for (const std::int64_t block_rows : {1, 4})
        for (const sovs_layout layout : {SOVS_NCHW, SOVS_NHWC}) {
            Problem p = training_problem(block_rows, 1);
            p.in_channels = p.out_channels = 9;
            p.layout = layout;
            p.h = 61;
            p.w = 53;
            p.threads = 2;
            expect_right_weight_gradient(p);
            p.kernel_h = p.kernel_w = 1;
            p.pad_h = p.pad_w = 0;
            expect_right_weight_gradient(p);
        }
}

TEST(bits_of_weight_gradients_do_not_depend_on_threads_or_parts) {
    for (const std::int64_t block_rows : {1, 4})
        for (const std::int64_t size : {8, 48}) {
            Problem p = training_problem(block_rows, 1);
            p.h = p.w = size;
            const Data data(p);
            const std::vector<float> grad = random_output(p, 5), expected = weight_gradient(p, data, grad);
            for (const int threads : {1, 2, 5})
                for (const std::int64_t parts : {0, 1, 3}) {
                    p.threads = threads;
                    p.tuning.row_parts = parts;
                    CHECK_SAYING(weight_gradient(p, data, grad) == expected, name_of(p));
                }
        }
}

TEST(weight_gradients_do_not_see_what_another_layer_left_in_memory) {
    Problem odd = training_problem(1, 1), wide = odd;
    wide.w = 160;
    Data poisoned(wide);
    std::fill(poisoned.x.begin(), poisoned.x.end(), std::numeric_limits<float>::quiet_NaN());
    weight_gradient(wide, poisoned, random_output(wide, 1));
    expect_right_weight_gradient(odd);
}

TEST(input_gradients_of_every_random_problem_match_double_precision) {
    int checked = 0;
    for (unsigned seed = 1; seed <= 600; ++seed) {
        Problem p = random_problem(seed);
        p.stride_h = p.stride_w = 1;
        const Problem t = transposed(p);
        if (t.pad_h < 0 || t.pad_w < 0) continue;
        expect_right_input_gradient(p);
        ++checked;
    }
    CHECK(checked > 200);
}

TEST(updated_weights_give_the_bits_of_new_ones) {
    for (const std::int64_t block_rows : {1, 4})
        for (const std::int64_t groups : {1, 3}) {
            Problem p = training_problem(block_rows, groups);
            const Data old(p);
            Data fresh = old;
            for (float& v : fresh.values) v *= -1.75f;
            for (float& v : fresh.dense) v *= -1.75f;
            for (float& v : fresh.bias) v += 0.5f;
            const std::vector<float> weight = channel_major(p, fresh.dense);

            sovs_weights* weights = old.weights(p);
            Problem other = p;  // another stream of the same weights
            other.tuning = {sizeof(sovs_tuning), 1, 5, 7, 3, 3};
            sovs_plan *plan = plan_of(p, weights), *second = plan_of(other, weights);
            CHECK(run(p, old, plan) != run(p, fresh));
            for (int again = 0; again < 2; ++again)
                CHECK_SAYING(sovs_weights_update(weights, weight.data(), fresh.bias.data(), 2) == SOVS_OK,
                             sovs_last_error());
            CHECK(run(p, old, plan) == run(p, fresh));
            CHECK(run(other, old, second) == run(p, fresh));
            sovs_plan* later = plan_of(other, weights);
            CHECK(run(other, old, later) == run(p, fresh));
            for (sovs_plan* made : {plan, second, later}) sovs_plan_destroy(made);
            sovs_weights_destroy(weights);

            const Problem t = transposed(p);
            sovs_weights *turned = transposed_weights(p, old), *expected = transposed_weights(p, fresh);
            sovs_plan *turned_plan = plan_of(t, turned), *expected_plan = plan_of(t, expected);
            CHECK(sovs_weights_update(turned, weight.data(), nullptr, 1) == SOVS_OK);
            const std::vector<float> grad = random_output(p, 3);
            CHECK(run_on(t, turned_plan, grad) == run_on(t, expected_plan, grad));
            for (sovs_plan* made : {turned_plan, expected_plan}) sovs_plan_destroy(made);
            for (sovs_weights* made : {turned, expected}) sovs_weights_destroy(made);
        }
}

TEST(weights_held_once_take_no_update) {
    const Problem p = training_problem(1, 1);
    const Data data(p);
    sovs_weights* weights = data.weights(p);
    CHECK(sovs_weights_hold_once(weights) == SOVS_OK);
    sovs_plan* plan = plan_of(p, weights);
    const std::vector<float> weight = channel_major(p, data.dense);
    CHECK(sovs_weights_update(weights, weight.data(), nullptr, 1) == SOVS_INVALID_ARGUMENT);
    sovs_plan_destroy(plan);
    sovs_weights_destroy(weights);
}

TEST(gradients_refuse_what_they_cannot_use) {
    const Problem p = training_problem(1, 1);
    sovs_weights* weights = Data(p).weights(p);
    sovs_conv2d_params params = p.params();
    sovs_weight_gradient* gradient = nullptr;
    const auto create = [&](std::int64_t h, const sovs_weights* from) {
        return sovs_weight_gradient_create(from, &params, nullptr, 1, h, 8, SOVS_NCHW, 1, &gradient);
    };
    CHECK(create(0, weights) == SOVS_INVALID_ARGUMENT);
    CHECK(create(8, nullptr) == SOVS_INVALID_ARGUMENT);
    params.stride_h = 0;
    CHECK(create(8, weights) == SOVS_INVALID_ARGUMENT);
    params = {sizeof params, 1, 1, 0, 0, 4, 4, SOVS_NONE};  // a kernel larger than the map
    CHECK(create(8, weights) == SOVS_INVALID_ARGUMENT);
    CHECK(gradient == nullptr);
    CHECK(sovs_weight_gradient_run(nullptr, nullptr, nullptr, nullptr, 1) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_weights_update(weights, nullptr, nullptr, 1) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_weights_transpose(nullptr, nullptr) == SOVS_INVALID_ARGUMENT);
    sovs_weights_destroy(weights);
}
