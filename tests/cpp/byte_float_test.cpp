// int8 convolutions that make floats, and those whose activation is more than a maximum.
#include "byte_conv.h"

namespace {

double activated(double x, std::int64_t activation) {
    const auto sigmoid = [](double u) { return 1.0 / (1.0 + std::exp(-u)); };
    switch (activation) {
        case SOVS_RELU: return std::max(0.0, x);
        case SOVS_RELU6: return std::clamp(x, 0.0, 6.0);
        case SOVS_GELU: return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
        case SOVS_GELU_TANH: return x * sigmoid(2.0 * std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x));
        case SOVS_QUICK_GELU: return x * sigmoid(1.702 * x);
        default: return x;
    }
}

constexpr std::int64_t kGelus[] = {SOVS_GELU, SOVS_GELU_TANH, SOVS_QUICK_GELU};

// Below, at and above half a vector, a vector and a tile, of dense, sparse and depthwise layers.
std::vector<Problem> problems() {
    std::vector<Problem> made;
    for (const std::int64_t pixels : {1, 5, 32, 33, 64, 97, 197, 256, 330, 700})
        for (const std::int64_t block_rows : {0, 1, 2, 4}) {  // 0: all weights are stored
            Problem p;
            p.seed = static_cast<unsigned>(pixels + block_rows);
            p.in_channels = 21;
            p.out_channels = 19;
            p.h = pixels % 2 ? 1 : 2;
            p.w = pixels / p.h;
            p.block_rows = std::max<std::int64_t>(1, block_rows);
            p.density = block_rows == 0 ? 1.0 : 0.3;
            p.residual = pixels % 3 > 0;
            p.residual_in_other_layout = pixels % 4 == 1;
            p.threads = pixels > 200 ? 2 : 1;
            made.push_back(p);
        }
    for (const std::int64_t side : {7, 12, 30}) {
        Problem p;
        p.groups = p.in_channels = p.out_channels = 24;
        p.h = p.w = side;
        p.kernel_h = p.kernel_w = 7;
        p.pad_h = p.pad_w = 3;
        p.density = 1.0;
        p.residual = side == 12;
        made.push_back(p);
    }
    return made;
}

}  // namespace

TEST(int8_convolutions_make_floats_by_the_same_operations_everywhere) {
    for (Problem p : problems())
        for (const std::int64_t activation : {SOVS_NONE, SOVS_RELU, SOVS_RELU6}) {
            p.activation = activation;
            ByteConv conv(p, p.seed % 4 == 0 ? 0.7 : 0.0);
            conv.makes_floats = true;
            const std::vector<float> y = conv.run();
            long wrong = 0;
            conv.each_number([&](std::int64_t at, float x) {
                wrong += y[at] != static_cast<float>(activated(double{x}, activation));
            });
            CHECK_SAYING(wrong == 0, std::to_string(wrong) + " numbers differ, " + name_of(p));
        }
}

TEST(gelus_of_int8_convolutions_that_make_floats_are_as_exact_as_in_fp32) {
    for (Problem p : problems())
        for (const std::int64_t activation : kGelus) {
            p.activation = activation;
            ByteConv conv(p);
            conv.makes_floats = true;
            const std::vector<float> y = conv.run();
            double worst = 0.0;
            conv.each_number([&](std::int64_t at, float x) {
                const double exact = activated(double{x}, activation);
                worst = std::max(worst, std::abs(y[at] - exact) / (1e-6 * std::max(1.0, std::abs(double{x}))));
            });
            CHECK_SAYING(worst < 1.0, "off by " + std::to_string(worst) + " parts in a million, " + name_of(p));
        }
}

TEST(gelus_of_bytes_are_rounded_to_the_nearest_or_its_neighbour) {
    for (Problem p : problems())
        for (const std::int64_t activation : kGelus) {
            p.activation = activation;
            ByteConv conv(p);
            conv.out = {0.0413f, 9};
            const std::vector<float> y = conv.run();
            long neighbours = 0, far = 0;
            conv.each_number([&](std::int64_t at, float x) {
                const double steps = activated(double{x}, activation) / double{conv.out.scale} + conv.out.zero_point;
                const double off =
                    std::abs(y[at] / conv.out.scale + conv.out.zero_point - std::clamp(std::rint(steps), 0.0, 255.0));
                neighbours += off > 0.5;
                far += off > 1.5;
            });
            CHECK_SAYING(far == 0, std::to_string(far) + " numbers are far, " + name_of(p));
            CHECK_SAYING(neighbours <= 2 + static_cast<long>(y.size()) / 50,
                         std::to_string(neighbours) + " of " + std::to_string(y.size()) + " differ, " + name_of(p));
        }
}

TEST(gelus_of_large_numbers_are_the_numbers_or_zero) {
    for (const std::int64_t activation : kGelus) {
        Problem p;
        p.in_channels = 64;
        p.activation = activation;
        p.w = 32;
        ByteConv conv(p, 1.0);
        for (auto& scale : conv.scales) scale = 1.0f;
        conv.out = {100.0f, 0};
        const std::vector<float> y = conv.run();
        conv.each_number([&](std::int64_t at, float x) {
            if (std::abs(x) < 20.0f) return;
            CHECK(std::abs(y[at] - std::clamp(100.0f * std::rint(std::max(0.0f, x) / 100.0f), 0.0f, 25500.0f)) <
                  101.0f);
        });
    }
}

TEST(results_of_int8_convolutions_that_make_floats_do_not_depend_on_threads_and_batches) {
    for (const std::int64_t activation : {SOVS_NONE, SOVS_GELU}) {
        Problem p;
        p.n = 4;
        p.in_channels = 32;
        p.out_channels = 40;
        p.h = 1;
        p.w = 197;
        p.block_rows = 4;
        p.residual = true;
        p.activation = activation;
        ByteConv conv(p);
        for (const bool makes_floats : {true, false}) {
            conv.makes_floats = makes_floats;
            conv.p = p;
            const std::vector<float> whole = conv.run();
            conv.p.threads = 3;
            CHECK(conv.run() == whole);
            conv.p.threads = conv.p.n = 1;  // the first image
            const std::vector<float> first(whole.begin(), whole.begin() + p.out_channels * p.w);
            ByteConv alone = conv;
            alone.x.resize(p.in_channels * p.w);
            alone.residual.resize(p.out_channels * p.w);
            CHECK(alone.run() == first);
        }
    }
}

TEST(what_int8_convolutions_add_is_of_the_type_that_they_make) {
    ByteConv conv(Problem{});
    sovs_weights* const weights = conv.weights();
    for (const bool to_bytes : {false, true}) {
        Records records;
        records.inputs = {map_of(1, 8, 8, 8), map_of(1, 8, 8, 8)};
        records.step("convert", "q", {"in0"}, conv.in.said());
        records.step("convert", "r", {"in1"}, conv.added.said());
        records.use("conv", weights);
        records.step("conv2d", "conv", {"q", to_bytes ? "in1" : "r"},
                     plain_conv() + (to_bytes ? conv.out.said() : std::string()));
        records.step("convert", "y", {"conv"}, to_bytes ? std::string() : conv.out.said());
        records.step("convert", "z", {"y"}, to_bytes ? conv.out.said() : std::string());
        records.step("convert", "last", {to_bytes ? "z" : "y"});
        records.output("last");
        CHECK(refused(records.attempt(), to_bytes ? "got u8 f32 -> u8" : "got u8 u8 -> f32"));
    }
    sovs_weights_destroy(weights);
}
