// int8: plans of s8 weights and u8 maps, against sums of 64-bit integers and an epilogue written out once more.
#include <cmath>
#include <map>

#include "kernels/byte_table.h"
#include "problem.h"

namespace {

struct Type {
    float scale;
    std::int32_t zero_point;

    std::string said() const {
        char text[64];
        std::snprintf(text, sizeof text, "%.9g", static_cast<double>(scale));
        return std::string(R"(, "dtype": "u8", "quant": {"scale": )") + text +
               ", \"zero_point\": " + std::to_string(zero_point) + "}";
    }
    // Exact: small powers of two times small integers.
    float number(std::uint8_t q) const { return static_cast<float>(q - zero_point) * scale; }
};

// A convolution of u8 maps, and what is quantised around it.
struct ByteConv {
    Problem p;
    Type in{0.25f, 3}, out{0.5f, 0}, added{0.125f, 128};
    double extreme = 0.0;  // share of weights of -128 or 127, and of pixels of 0 or 255
    std::vector<std::uint8_t> x, residual;
    std::vector<std::int8_t> values, dense;  // dense: (out_channels, columns), tap-major
    std::vector<float> scales, bias;
    std::vector<std::int32_t> row_ptr{0}, indices;

    // A density of 1 stores all weights; otherwise some rows are empty and some full.
    explicit ByteConv(const Problem& problem, double extremes = 0.0) : p(problem), extreme(extremes) {
        std::mt19937 g(p.seed);
        std::uniform_real_distribution<double> chance(0.0, 1.0);
        const auto pixel = [&] {
            return static_cast<std::uint8_t>(chance(g) < extreme ? (g() % 4 ? 255 : 0) : g() % 256);
        };
        const auto weight = [&] {
            return static_cast<std::int8_t>(chance(g) < extreme ? (g() % 2 ? -128 : 127)
                                                                : static_cast<int>(g() % 255) - 127);
        };
        x.resize(p.n * p.in_channels * p.h * p.w);
        for (auto& v : x) v = pixel();
        residual.resize(p.n * p.out_channels * p.out_h() * p.out_w());
        for (auto& v : residual) v = pixel();
        dense.assign(p.out_channels * p.columns(), 0);
        for (std::int64_t row = 0; row < p.block_row_count(); ++row) {
            const double density = p.density == 1.0 || row % 5 == 4 ? 1.0 : row % 3 == 2 ? 0.0 : p.density;
            for (std::int64_t k = 0; k < p.columns(); ++k) {
                if (chance(g) >= density) continue;
                indices.push_back(static_cast<std::int32_t>(k));
                for (std::int64_t b = 0; b < p.block_rows; ++b) {
                    const std::int64_t o = row * p.block_rows + b;
                    values.push_back(o < p.out_channels ? weight() : std::int8_t{0});
                    if (o < p.out_channels) dense[o * p.columns() + k] = values.back();
                }
            }
            row_ptr.push_back(static_cast<std::int32_t>(indices.size()));
        }
        for (std::int64_t o = 0; o < p.out_channels; ++o) {
            scales.push_back(o % 7 == 5 ? 0.0f : 0.002f + 0.001f * static_cast<float>(g() % 13));
            bias.push_back(p.bias ? static_cast<float>(static_cast<int>(g() % 200) - 100) * 0.11f : 0.0f);
        }
        out.zero_point = p.activation == SOVS_RELU ? 0 : 117;
        if (p.activation == SOVS_RELU6) out = {0.0625f, static_cast<std::int32_t>(g() % 2 * 40)};
    }

    sovs_weights* weights() const {
        const sovs_weights_desc desc{sizeof desc,   p.out_channels, p.group_in(),   p.kernel_h,     p.kernel_w,
                                     p.groups,      p.block_rows,   row_ptr.data(), indices.data(), 32,
                                     values.data(), SOVS_S8,        scales.data(),  bias.data()};
        sovs_weights* made = nullptr;
        CHECK_SAYING(sovs_weights_create(&desc, &made) == SOVS_OK, sovs_last_error());
        return made;
    }

    std::vector<float> floats(const std::vector<std::uint8_t>& given, const Type& type, std::int64_t c,
                              std::int64_t pixels, sovs_layout layout) const {
        std::vector<float> made(given.size());
        for (std::int64_t i = 0; i < p.n; ++i)
            for (std::int64_t channel = 0; channel < c; ++channel)
                for (std::int64_t pixel = 0; pixel < pixels; ++pixel)
                    made[layout == SOVS_NCHW ? (i * c + channel) * pixels + pixel
                                             : (i * pixels + pixel) * c + channel] =
                        type.number(given[(i * c + channel) * pixels + pixel]);
        return made;
    }

    sovs_plan* plan() const {
        Records records;
        records.inputs.push_back(map_of(p.n, p.in_channels, p.h, p.w, p.layout));
        records.step("convert", "q0", {"in0"}, in.said());
        std::vector<std::string> read{"q0"};
        if (p.residual) {
            records.inputs.push_back(map_of(p.n, p.out_channels, p.out_h(), p.out_w(), p.residual_layout()));
            records.step("convert", "q1", {"in1"}, added.said());
            read.push_back("q1");
        }
        sovs_weights* made = weights();
        records.use("conv", made);
        records.step("conv2d", "conv", read, conv_members(p.params(), p.tuning) + out.said());
        records.step("convert", "y", {"conv"});
        records.output("y", p.layout);
        sovs_plan* plan = nullptr;
        CHECK_SAYING(records.make(&plan, p.threads) == SOVS_OK, sovs_last_error());
        sovs_weights_destroy(made);
        return plan;
    }

    // What its plan runs it with.
    std::string backend() const {
        sovs_plan* const made = plan();
        std::string found;
        for (std::int32_t step = 0; step < sovs_plan_step_count(made); ++step) {
            sovs_step_info info{};
            info.size = sizeof info;
            CHECK(sovs_plan_step_info(made, step, &info) == SOVS_OK);
            if (std::string(info.backend).starts_with("int8")) found = info.backend;
        }
        sovs_plan_destroy(made);
        return found;
    }

    // The output's numbers as floats, NCHW or NHWC as the problem says.
    std::vector<float> run() const {
        sovs_plan* const plan = this->plan();
        const std::vector<float> given = floats(x, in, p.in_channels, p.h * p.w, p.layout);
        const std::vector<float> second =
            floats(residual, added, p.out_channels, p.out_h() * p.out_w(), p.residual_layout());
        std::vector<sovs_buffer> inputs{buffer_of(given)};
        if (p.residual) inputs.push_back(buffer_of(second));
        std::vector<float> y(residual.size(), -77.0f);
        CHECK_SAYING(run_plan(plan, inputs, {buffer_of(y)}, p.threads) == SOVS_OK, sovs_last_error());
        sovs_plan_destroy(plan);
        return y;
    }

    std::int64_t sum(std::int64_t i, std::int64_t o, std::int64_t oy, std::int64_t ox) const {
        std::int64_t total = 0;
        const std::int64_t first = o / (p.out_channels / p.groups) * p.group_in();
        for (std::int64_t ky = 0; ky < p.kernel_h; ++ky)
            for (std::int64_t kx = 0; kx < p.kernel_w; ++kx) {
                const std::int64_t iy = oy * p.stride_h + ky * p.dilation_h - p.pad_h;
                const std::int64_t ix = ox * p.stride_w + kx * p.dilation_w - p.pad_w;
                if (iy < 0 || iy >= p.h || ix < 0 || ix >= p.w) continue;  // padding is the zero point
                for (std::int64_t c = 0; c < p.group_in(); ++c)
                    total += std::int64_t{dense[o * p.columns() + (ky * p.kernel_w + kx) * p.group_in() + c]} *
                             (x[((i * p.in_channels + first + c) * p.h + iy) * p.w + ix] - in.zero_point);
            }
        return total;
    }

    // The epilogue's operations, one by one. Zero points come out of the sum exactly.
    float expected(std::int64_t i, std::int64_t o, std::int64_t oy, std::int64_t ox) const {
        const double inverse = 1.0 / static_cast<double>(out.scale);
        double shift = out.zero_point;
        if (p.residual) shift -= added.zero_point * (added.scale * inverse);
        const auto scale = static_cast<float>(static_cast<double>(scales[o]) * in.scale * inverse);
        const auto offset = static_cast<float>(bias[o] * inverse + shift);
        volatile float value = static_cast<float>(sum(i, o, oy, ox)) * scale;
        value = value + offset;
        if (p.residual) {
            const std::uint8_t r = residual[((i * p.out_channels + o) * p.out_h() + oy) * p.out_w() + ox];
            volatile float more = static_cast<float>(r) * static_cast<float>(added.scale * inverse);
            value = value + more;
        }
        const double rounded = std::nearbyint(static_cast<double>(value));
        const double least = p.activation == SOVS_NONE ? 0 : out.zero_point;
        const double six = std::nearbyint(6.0 * inverse) + out.zero_point;
        const double most = p.activation == SOVS_RELU6 ? std::min(255.0, six) : 255.0;
        return out.number(static_cast<std::uint8_t>(std::clamp(rounded, least, most)));
    }

    void expect_exact(const std::string& what) const {
        const std::vector<float> y = run();
        long wrong = 0;
        for (std::int64_t i = 0; i < p.n; ++i)
            for (std::int64_t o = 0; o < p.out_channels; ++o)
                for (std::int64_t oy = 0; oy < p.out_h(); ++oy)
                    for (std::int64_t ox = 0; ox < p.out_w(); ++ox)
                        wrong += y[p.out_at(i, o, oy, ox)] != expected(i, o, oy, ox);
        CHECK_SAYING(wrong == 0, what + ": " + std::to_string(wrong) + " of " + std::to_string(y.size()) +
                                     " numbers differ, " + name_of(p));
    }
};

Problem byte_problem(unsigned seed) {
    Problem p = random_problem(seed);
    p.tuning = kLibraryChooses;
    std::mt19937 g(seed + 1000);
    if (p.groups == 1) p.block_rows = std::int64_t{1} << g() % 3;
    if (g() % 4 == 0) p.activation = SOVS_RELU6;
    if (g() % 2 == 0) p.tuning.tile_cols = static_cast<std::int64_t>(g() % 400);
    return p;
}

}  // namespace

TEST(int8_convolutions_equal_integer_sums_exactly) {
    for (unsigned seed = 0; seed < 300; ++seed) ByteConv(byte_problem(seed)).expect_exact("int8");
}

TEST(int8_convolutions_of_extreme_numbers_are_exact) {
    for (unsigned seed = 300; seed < 400; ++seed) ByteConv(byte_problem(seed), 0.7).expect_exact("extremes");
}

TEST(int8_convolutions_whose_weights_are_all_stored_are_exact) {
    for (unsigned seed = 400; seed < 600; ++seed) {
        Problem p = byte_problem(seed);
        p.density = 1.0;
        ByteConv(p, seed % 4 == 0 ? 0.7 : 0.0).expect_exact("all stored");
    }
}

TEST(int8_weights_that_are_all_stored_are_multiplied_densely_where_quads_are_exact) {
    for (const std::int64_t block_rows : {1, 2, 4}) {
        Problem p;
        p.block_rows = block_rows;
        const std::string rows = "int8 rows" + std::to_string(block_rows);
        CHECK(ByteConv(p).backend() == rows);
        p.density = 1.0;
        CHECK(ByteConv(p).backend() == (sovs::byte_kernels().dense == nullptr ? rows : "int8 dense"));
    }
}

TEST(int8_convolutions_of_the_most_extreme_quads_are_exact) {
    Problem p;
    p.in_channels = 64;
    p.density = 1.0;
    p.kernel_h = p.kernel_w = 3;
    ByteConv conv(p);
    std::fill(conv.values.begin(), conv.values.end(), std::int8_t{-128});
    std::fill(conv.dense.begin(), conv.dense.end(), std::int8_t{-128});
    std::fill(conv.x.begin(), conv.x.end(), std::uint8_t{255});
    conv.out = {1024.0f, 255};
    conv.expect_exact("255 times -128");
}

TEST(int8_maps_of_many_tiles_are_read_across_their_borders) {
    for (const std::int64_t block_rows : {1, 2, 4})
        for (const std::int64_t side : {19, 40, 57, -40}) {  // the last one with all weights stored
            Problem p;
            if (side < 0) p.density = 1.0;
            p.n = 2;
            p.h = std::abs(side);
            p.w = p.h + 3;
            p.kernel_h = p.kernel_w = 3;
            p.pad_h = p.pad_w = 1;
            p.block_rows = block_rows;
            p.residual = true;
            p.threads = 2;
            ByteConv(p).expect_exact("many tiles");
            p.kernel_h = p.kernel_w = 1;
            p.pad_h = p.pad_w = 0;
            ByteConv(p).expect_exact("many tiles, pointwise");
        }
}

TEST(int8_depthwise_convolutions_are_exact) {
    const std::pair<std::int64_t, std::int64_t> sides[] = {{23, 31}, {24, 40}, {14, 14}, {7, 7}, {6, 3}, {60, 64}};
    unsigned seed = 0;
    for (const auto& [h, w] : sides)
        for (const std::int64_t kernel : {1, 3, 4, 5, 8})
            for (const std::int64_t stride : {1, 2, 3}) {
                Problem p;
                p.seed = seed++;
                p.n = 1 + seed % 3;
                p.groups = p.in_channels = p.out_channels = 75;
                p.h = h;
                p.w = w;
                p.kernel_h = p.kernel_w = kernel;
                p.pad_h = p.pad_w = kernel / 2;
                p.dilation_w = 1 + seed % 2;
                p.stride_h = p.stride_w = stride;
                p.density = 0.9;
                p.threads = 1 + seed % 2;
                p.residual = seed % 5 == 0;
                if (p.out_h() < 1 || p.out_w() < 1) continue;
                ByteConv(p, seed % 4 == 0 ? 0.7 : 0.0).expect_exact("depthwise");
            }
}

TEST(int8_depthwise_convolutions_read_shifted_taps_where_strides_divide_the_map) {
    Problem p;
    p.groups = p.in_channels = p.out_channels = 16;
    p.kernel_h = p.kernel_w = 3;
    p.pad_h = p.pad_w = 1;
    for (const std::int64_t side : {7, 8})
        for (const std::int64_t stride : {1, 2}) {
            p.h = p.w = side;
            p.stride_h = p.stride_w = stride;
            CHECK(ByteConv(p).backend() == (side % stride == 0 ? "int8 depthwise" : "int8 rows1"));
        }
}

TEST(int8_convolutions_are_tuned_by_the_width_of_their_windows) {
    for (const double density : {0.1, 1.0}) {
        Problem p;
        p.in_channels = p.out_channels = 32;
        p.h = p.w = 40;
        p.kernel_h = p.kernel_w = 3;
        p.pad_h = p.pad_w = 1;
        p.density = density;
        sovs_weights* const weights = ByteConv(p).weights();
        const sovs_conv2d_params params = p.params();
        sovs_conv2d_place place{sizeof place, p.n, p.h, p.w, SOVS_MAP_FREE, SOVS_MAP_TILED, 0, 0, SOVS_F32};
        std::vector<sovs_tuning> found(10, kLibraryChooses);
        auto count = static_cast<std::int32_t>(found.size());
        CHECK(sovs_conv2d_candidates(weights, &params, &place, found.data(), &count) == SOVS_OK);
        CHECK(count == 4 && found[0].tile_cols == 0);  // of 320, 192, 128 and 64 pixels
        std::vector<double> seconds(count, -1.0);
        CHECK(sovs_conv2d_time(weights, &params, &place, found.data(), count, 2, seconds.data()) == SOVS_OK);
        for (const double each : seconds) CHECK(each > 0.0 && each < 10.0);
        for (std::int32_t i = 0; i < count; ++i) {
            p.tuning = found[i];
            ByteConv(p).expect_exact("tuned");
        }
        place.input = SOVS_MAP_NCHW;
        count = 1;
        CHECK(refused(sovs_conv2d_candidates(weights, &params, &place, found.data(), &count), "are floats"));
        sovs_weights_destroy(weights);
    }
}

TEST(int8_sums_of_the_most_columns_do_not_overflow) {
    Problem p;
    p.in_channels = 65535;
    p.h = p.w = 1;
    p.out_channels = 1;
    p.density = 1.0;
    ByteConv conv(p, 1.0);
    std::fill(conv.values.begin(), conv.values.end(), std::int8_t{-128});
    std::fill(conv.dense.begin(), conv.dense.end(), std::int8_t{-128});
    std::fill(conv.x.begin(), conv.x.end(), std::uint8_t{255});
    for (const std::int32_t zero_point : {0, 255}) {
        conv.in.zero_point = zero_point;
        conv.out = {1024.0f, 255};
        conv.expect_exact("the most columns");
    }
}

TEST(numbers_are_quantised_half_to_even_and_within_u8) {
    const std::vector<float> given{0.25f, 0.75f, -0.25f, -5.0f, -5.3f, 1e30f, NAN, 122.5f};
    const std::vector<float> made{0.0f, 1.0f, 0.0f, -5.0f, -5.0f, 122.5f, 122.5f, 122.5f};
    for (const std::int64_t pixels : {1, 8, 61}) {  // below and above whole vectors
        Records records;
        records.inputs.push_back(map_of(1, 1, 1, pixels));
        records.step("convert", "q", {"in0"}, Type{0.5f, 10}.said());
        records.step("convert", "y", {"q"});
        records.output("y");
        sovs_plan* plan = nullptr;
        CHECK_SAYING(records.make(&plan) == SOVS_OK, sovs_last_error());
        std::vector<float> x(pixels), y(pixels);
        for (std::int64_t i = 0; i < pixels; ++i) x[i] = given[i % 8];
        CHECK(run_plan(plan, {buffer_of(x)}, {buffer_of(y)}) == SOVS_OK);
        for (std::int64_t i = 0; i < pixels; ++i) CHECK(y[i] == made[i % 8]);
        sovs_plan_destroy(plan);
    }
}

TEST(int8_averages_are_rounded_half_up) {
    Records records;
    records.inputs.push_back(map_of(1, 2, 3, 5));
    const Type type{1.0f, 0};
    records.step("convert", "q", {"in0"}, type.said());
    records.step("avg_pool2x2", "p", {"q"}, type.said());
    records.step("convert", "y", {"p"});
    records.output("y");
    sovs_plan* plan = nullptr;
    CHECK_SAYING(records.make(&plan) == SOVS_OK, sovs_last_error());
    std::vector<float> x(30, 9.0f), y(4);
    const std::vector<float> rows{0, 0, 255, 255, 7, 1, 1, 255, 255, 7};  // means 0.5 and 255
    std::copy(rows.begin(), rows.end(), x.begin());
    CHECK(run_plan(plan, {buffer_of(x)}, {buffer_of(y)}) == SOVS_OK);
    CHECK((y == std::vector<float>{1.0f, 255.0f, 9.0f, 9.0f}));
    sovs_plan_destroy(plan);
}

TEST(a_program_s_inputs_and_outputs_are_floats) {
    Records records;
    records.inputs.push_back(map_of(1, 1, 1, 8));
    records.step("convert", "q", {"in0"}, Type{0.5f, 10}.said());
    records.output("q");
    CHECK(refused(records.attempt(), "expected f32 of a program's inputs and outputs, got u8"));
}

TEST(int8_maps_of_one_scale_alone_are_averaged) {
    Records records;
    records.inputs.push_back(map_of(1, 1, 2, 2));
    records.step("convert", "q", {"in0"}, Type{0.5f, 10}.said());
    records.step("avg_pool2x2", "p", {"q"}, Type{0.25f, 10}.said());
    records.step("convert", "y", {"p"});
    records.output("y");
    CHECK(refused(records.attempt(), "a pooled map of the input's scale and zero point"));
}
