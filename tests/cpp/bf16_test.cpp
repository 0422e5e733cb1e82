// bf16: plans of maps and weights rounded to bf16, against double precision over numbers rounded here once more.
#include <cmath>

#include "kernels/bf16_table.h"
#include "problem.h"

namespace {

constexpr const char* kBf16 = R"(, "dtype": "bf16")";

bool here() { return sovs::bf16_kernels() != nullptr; }

// To 8 significant bits, half to even.
double rounded(double x) {
    int exponent = 0;
    const double mantissa = std::frexp(x, &exponent);
    return std::ldexp(std::nearbyint(std::ldexp(mantissa, 8)), exponent - 8);
}

void round_all(std::vector<float>& numbers) {
    for (float& x : numbers) x = static_cast<float>(rounded(x));
}

sovs_plan* bf16_plan(const Problem& p, const sovs_weights* weights) {
    Records records;
    records.inputs.push_back(map_of(p.n, p.in_channels, p.h, p.w, p.layout));
    records.step("convert", "b0", {"in0"}, kBf16);
    std::vector<std::string> read{"b0"};
    if (p.residual) {
        records.inputs.push_back(map_of(p.n, p.out_channels, p.out_h(), p.out_w(), p.residual_layout()));
        records.step("convert", "b1", {"in1"}, kBf16);
        read.push_back("b1");
    }
    records.use("conv", weights);
    records.step("conv2d", "conv", read, conv_members(p.params(), p.tuning) + kBf16);
    records.step("convert", "y", {"conv"});
    records.output("y", p.layout);
    sovs_plan* plan = nullptr;
    CHECK_SAYING(records.make(&plan, p.threads) == SOVS_OK, sovs_last_error());
    return plan;
}

// As one that stores all weights, zeros too: dense kernels take it.
sovs_weights* stored_whole(const Problem& p, const Data& data) {
    std::vector<float> weight(data.dense.size());
    const std::int64_t taps = p.kernel_h * p.kernel_w;
    for (std::int64_t o = 0; o < p.out_channels; ++o)
        for (std::int64_t t = 0; t < taps; ++t)
            for (std::int64_t c = 0; c < p.group_in(); ++c)
                weight[(o * p.group_in() + c) * taps + t] = data.dense[o * p.columns() + t * p.group_in() + c];
    return dense_weights(p, weight, p.bias ? data.bias.data() : nullptr);
}

struct Result {
    std::vector<float> y;
    std::string backend;
};

Result run_bf16(const Problem& p, const Data& data, bool whole = false) {
    sovs_weights* const weights = whole ? stored_whole(p, data) : data.weights(p);
    sovs_plan* const plan = bf16_plan(p, weights);
    sovs_weights_destroy(weights);
    Result made{run(p, data, plan), ""};
    for (std::int32_t step = 0; step < sovs_plan_step_count(plan); ++step) {
        sovs_step_info info{};
        info.size = sizeof info;
        CHECK(sovs_plan_step_info(plan, step, &info) == SOVS_OK);
        if (std::string(info.backend).starts_with("bf16")) made.backend = info.backend;
    }
    sovs_plan_destroy(plan);
    return made;
}

// Of numbers that are bf16: the rounding of the output, and of sums in fp32.
void expect_bf16(const Problem& p, bool whole = false) {
    Data data(p);
    for (auto* numbers : {&data.x, &data.residual, &data.values, &data.dense}) round_all(*numbers);
    const std::vector<float> y = run_bf16(p, data, whole).y;
    double worst = 0.0;
    for (std::int64_t i = 0; i < p.n; ++i)
        for (std::int64_t o = 0; o < p.out_channels; ++o)
            for (std::int64_t oy = 0; oy < p.out_h(); ++oy)
                for (std::int64_t ox = 0; ox < p.out_w(); ++ox) {
                    double sum = p.bias ? data.bias[o] : 0.0, size = std::fabs(sum);
                    const std::int64_t first = o / (p.out_channels / p.groups) * p.group_in();
                    for (std::int64_t k = 0; k < p.columns(); ++k) {
                        const std::int64_t tap = k / p.group_in(), c = k % p.group_in();
                        const std::int64_t iy = oy * p.stride_h + tap / p.kernel_w * p.dilation_h - p.pad_h;
                        const std::int64_t ix = ox * p.stride_w + tap % p.kernel_w * p.dilation_w - p.pad_w;
                        if (iy < 0 || iy >= p.h || ix < 0 || ix >= p.w) continue;
                        const double product = static_cast<double>(data.dense[o * p.columns() + k]) *
                                               data.x[p.in_at(i, first + c, iy, ix)];
                        sum += product;
                        size += std::fabs(product);
                    }
                    if (p.residual) {
                        const float added = data.residual[p.residual_at(i, o, oy, ox)];
                        sum += added;
                        size += std::fabs(added);
                    }
                    if (p.activation != SOVS_NONE) sum = std::fmax(sum, 0.0);
                    if (p.activation == SOVS_RELU6) sum = std::fmin(sum, 6.0);
                    const double bound = std::ldexp(std::fabs(sum), -8) + 1e-6 * (size + 1e-30);
                    worst = std::fmax(worst, std::fabs(sum - y[p.out_at(i, o, oy, ox)]) / bound);
                }
    CHECK_SAYING(worst <= 1.0, "error " + std::to_string(worst) + " times the bound: " + name_of(p));
}

Problem bf16_problem(unsigned seed) {
    Problem p = random_problem(seed);
    p.tuning = kLibraryChooses;
    std::mt19937 g(seed + 1000);
    if (g() % 4 == 0) p.activation = SOVS_RELU6;
    if (g() % 2 == 0) p.tuning.tile_cols = static_cast<std::int64_t>(g() % 400);
    return p;
}

}  // namespace

TEST(bf16_convolutions_match_double_precision_to_their_rounding) {
    if (!here()) return;
    for (unsigned seed = 0; seed < 300; ++seed) expect_bf16(bf16_problem(seed));
}

TEST(bf16_convolutions_whose_weights_are_all_stored_match_double_precision_to_their_rounding) {
    if (!here()) return;
    for (unsigned seed = 300; seed < 500; ++seed) expect_bf16(bf16_problem(seed), true);
}

TEST(bf16_weights_of_few_zeros_are_multiplied_densely) {
    if (!here()) return;
    const sovs::Bf16Table& table = *sovs::bf16_kernels();
    for (const std::int64_t block_rows : {1, 4}) {
        Problem p;
        p.block_rows = block_rows;
        p.in_channels = 100;
        p.out_channels = block_rows;  // of one block row, whose density is the problem's
        for (const double density : {0.03, 0.3, 0.9}) {
            p.density = density;
            const bool densely = density > (block_rows == 1 ? table.densest1 : table.densest4);
            const std::string rows = "bf16 rows" + std::to_string(block_rows);
            CHECK(run_bf16(p, Data(p)).backend == (densely ? "bf16 dense" : rows));
            expect_bf16(p);
        }
        CHECK(run_bf16(p, Data(p), true).backend == "bf16 dense");
    }
}

TEST(bf16_maps_of_many_tiles_are_read_across_their_borders) {
    if (!here()) return;
    for (const bool whole : {false, true})
        for (const std::int64_t side : {19, 40, 57}) {
            Problem p;
            p.n = 2;
            p.h = side;
            p.w = side + 3;
            p.kernel_h = p.kernel_w = 3;
            p.pad_h = p.pad_w = 1;
            p.residual = true;
            p.threads = 2;
            expect_bf16(p, whole);
            p.stride_h = p.stride_w = 2;
            expect_bf16(p, whole);
            p.kernel_h = p.kernel_w = p.stride_h = p.stride_w = 1;
            p.pad_h = p.pad_w = 0;
            expect_bf16(p, whole);
        }
}

TEST(bf16_panels_of_many_channels_are_multiplied_one_after_the_other) {
    if (!here()) return;
    Problem p;
    p.in_channels = 301;
    p.out_channels = 40;
    p.h = 17;
    p.w = 19;
    p.kernel_h = p.kernel_w = 3;
    p.pad_h = p.pad_w = 1;
    p.density = 1.0;
    p.residual = true;
    p.activation = SOVS_RELU;
    expect_bf16(p, true);
    p.stride_h = p.stride_w = 2;
    expect_bf16(p, true);
}

TEST(bf16_bits_do_not_depend_on_windows_or_threads) {
    if (!here()) return;
    for (const bool whole : {false, true})
        for (const std::int64_t block_rows : {1, 4}) {
            Problem p;
            p.in_channels = 40;
            p.out_channels = 72;
            p.h = 19;
            p.w = 33;
            p.kernel_h = p.kernel_w = 3;
            p.pad_h = p.pad_w = 1;
            p.block_rows = block_rows;
            const Data data(p);
            const std::vector<float> expected = run_bf16(p, data, whole).y;
            for (const int threads : {1, 2, 4})
                for (const std::int64_t width : {0, 32, 96, 320}) {
                    p.threads = threads;
                    p.tuning.tile_cols = width;
                    CHECK(run_bf16(p, data, whole).y == expected);
                }
        }
}

TEST(floats_are_rounded_to_bf16_half_to_even) {
    if (!here()) return;
    const std::vector<float> given{1.0f, 1.00390625f, 1.01171875f, -1.00390625f, 3.4e38f, 0.1f, 1e-39f, INFINITY};
    const std::vector<float> made{1.0f, 1.0f, 1.015625f, -1.0f, INFINITY, 0.10009765625f, 0.0f, INFINITY};
    check_conversion(kBf16, given, made);
}

TEST(bf16_convolutions_keep_nan_and_infinity_where_weights_meet_them) {
    if (!here()) return;
    Problem p;
    p.in_channels = 2;
    p.out_channels = 1;
    p.density = 1.0;
    p.activation = SOVS_RELU;
    Data data(p);
    data.x[0] = NAN;
    data.x[1] = data.values[0] > 0 ? INFINITY : -INFINITY;
    for (const bool whole : {false, true}) {
        const std::vector<float> y = run_bf16(p, data, whole).y;
        CHECK(std::isnan(y[0]) && std::isinf(y[1]) && std::isfinite(y[2]));
    }
}

TEST(bf16_averages_are_summed_in_fp32) {
    if (!here()) return;
    Records records;
    records.inputs.push_back(map_of(1, 3, 5, 43));
    records.step("convert", "b", {"in0"}, kBf16);
    records.step("avg_pool2x2", "p", {"b"}, kBf16);
    records.step("convert", "y", {"p"});
    records.output("y");
    sovs_plan* plan = nullptr;
    CHECK_SAYING(records.make(&plan) == SOVS_OK, sovs_last_error());
    std::vector<float> x(3 * 5 * 43), y(3 * 2 * 21);
    std::mt19937 g(1);
    for (float& v : x)
        v = static_cast<float>(static_cast<int>(g() % 256)) / 64;  // exact in bf16, as their sums in fp32
    CHECK(run_plan(plan, {buffer_of(x)}, {buffer_of(y)}) == SOVS_OK);
    for (int c = 0; c < 3; ++c)
        for (int oy = 0; oy < 2; ++oy)
            for (int ox = 0; ox < 21; ++ox) {
                const float* at = &x[(c * 5 + 2 * oy) * 43 + 2 * ox];
                CHECK(y[(c * 2 + oy) * 21 + ox] == rounded((at[0] + at[1] + at[43] + at[44]) / 4.0));
            }
    sovs_plan_destroy(plan);
}

TEST(bf16_convolutions_are_tuned_by_the_width_of_their_windows) {
    if (!here()) return;
    for (const bool whole : {false, true}) {
        Problem p;
        p.in_channels = p.out_channels = 32;
        p.h = p.w = 40;
        p.kernel_h = p.kernel_w = 3;
        p.pad_h = p.pad_w = 1;
        const Data data(p);
        sovs_weights* const weights = whole ? stored_whole(p, data) : data.weights(p);
        const sovs_conv2d_params params = p.params();
        sovs_conv2d_place place{sizeof place, p.n, p.h, p.w, SOVS_MAP_FREE, SOVS_MAP_TILED, 0, 0, SOVS_BF16};
        std::vector<sovs_tuning> found(20, kLibraryChooses);
        auto count = static_cast<std::int32_t>(found.size());
        CHECK(sovs_conv2d_candidates(weights, &params, &place, found.data(), &count) == SOVS_OK);
        CHECK(count > 4 && found[0].tile_cols == 0);
        std::vector<double> seconds(count, -1.0);
        CHECK(sovs_conv2d_time(weights, &params, &place, found.data(), count, 2, seconds.data()) == SOVS_OK);
        for (const double each : seconds) CHECK(each > 0.0 && each < 10.0);
        place.output = SOVS_MAP_NCHW;
        CHECK(refused(sovs_conv2d_candidates(weights, &params, &place, found.data(), &count), "are floats"));
        place = {sizeof place, p.n, p.h, p.w, SOVS_MAP_FREE, SOVS_MAP_TILED, 0, 0, SOVS_S32};
        CHECK(refused(sovs_conv2d_candidates(weights, &params, &place, found.data(), &count), "SOVS_F32 or SOVS_BF16"));
        sovs_weights_destroy(weights);
    }
}

TEST(bf16_is_refused_where_no_kernel_multiplies_it) {
    const Problem p;
    const Data data(p);
    Records records;
    records.inputs.push_back(map_of(1, 8, 8, 8));
    records.step("convert", "b0", {"in0"}, kBf16);
    sovs_weights* const weights = data.weights(p);
    records.use("conv", weights);
    records.step("conv2d", "conv", {"b0"}, plain_conv(here() ? SOVS_GELU : SOVS_NONE) + kBf16);
    records.step("convert", "y", {"conv"});
    records.output("y");
    CHECK(refused(records.attempt(), here() ? "a convolution that there is a kernel of bf16 for"
                                            : "expected a CPU with AVX512_BF16 for numbers of bf16"));
    CHECK((sovs_bf16_isa() != nullptr) == here());
    sovs_weights_destroy(weights);
}

TEST(bf16_weights_may_be_held_once_and_are_packed_again_as_they_were_rounded) {
    if (!here()) return;
    for (const bool whole : {false, true})
        for (const std::int64_t block_rows : {1, 4}) {
            Problem p;
            p.block_rows = block_rows;
            p.kernel_h = p.kernel_w = 3;
            Data data(p);
            for (auto* numbers : {&data.values, &data.dense}) round_all(*numbers);
            sovs_weights* const weights = whole ? stored_whole(p, data) : data.weights(p);
            CHECK(sovs_weights_hold_once(weights) == SOVS_OK);
            std::vector<float> before(p.out_channels * p.columns()), after(before.size());
            CHECK(sovs_weights_unpack(weights, before.data()) == SOVS_OK);
            sovs_plan* const plan = bf16_plan(p, weights);
            CHECK(run(p, data, plan) == run_bf16(p, data, whole).y);
            CHECK(sovs_weights_unpack(weights, after.data()) == SOVS_OK && after == before);
            sovs_plan_destroy(plan);
            sovs_weights_destroy(weights);
        }
}
