// An int8 convolution with everything that can vary, run through the C API, and what it must give: sums of 64-bit integers and
// an epilogue written out once more.
#pragma once
#include <cmath>

#include "kernels/byte_table.h"
#include "problem.h"

struct ByteType {
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
    bool makes_floats = false;  // and adds floats
    ByteType in{0.25f, 3}, out{0.5f, 0}, added{0.125f, 128};
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

    std::vector<float> floats(const std::vector<std::uint8_t>& given, const ByteType& type, std::int64_t c,
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
            if (!makes_floats) records.step("convert", "q1", {"in1"}, added.said());
            read.push_back(makes_floats ? "in1" : "q1");
        }
        sovs_weights* made = weights();
        records.use("conv", made);
        records.step("conv2d", "conv", read,
                     conv_members(p.params(), p.tuning) + (makes_floats ? std::string() : out.said()));
        if (!makes_floats) records.step("convert", "y", {"conv"});
        records.output(makes_floats ? "conv" : "y", p.layout);
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

    // What the activation is applied to, in float operations: their scale is 1 where floats are made.
    float number(std::int64_t i, std::int64_t o, std::int64_t oy, std::int64_t ox) const {
        volatile float value = static_cast<float>(sum(i, o, oy, ox)) * static_cast<float>(double{scales[o]} * in.scale);
        value = value + bias[o];
        if (p.residual)
            value = value + added.number(residual[((i * p.out_channels + o) * p.out_h() + oy) * p.out_w() + ox]);
        return value;
    }

    // Calls body(place in the output, number before the activation) for each number.
    template <typename Body>
    void each_number(Body&& body) const {
        for (std::int64_t i = 0; i < p.n; ++i)
            for (std::int64_t o = 0; o < p.out_channels; ++o)
                for (std::int64_t oy = 0; oy < p.out_h(); ++oy)
                    for (std::int64_t ox = 0; ox < p.out_w(); ++ox) body(p.out_at(i, o, oy, ox), number(i, o, oy, ox));
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

inline Problem byte_problem(unsigned seed) {
    Problem p = random_problem(seed);
    p.tuning = kLibraryChooses;
    std::mt19937 g(seed + 1000);
    if (p.groups == 1) p.block_rows = std::int64_t{1} << g() % 3;
    if (g() % 4 == 0) p.activation = SOVS_RELU6;
    if (g() % 2 == 0) p.tuning.tile_cols = static_cast<std::int64_t>(g() % 400);
    return p;
}
