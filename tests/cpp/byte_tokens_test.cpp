// Steps of transformers that write u8: the bytes that converting their floats would give.
#include <random>

#include "byte_conv.h"

namespace {

// The step's floats, quantised by it or by a conversion behind it.
std::vector<float> run_step(const std::string& op, const std::string& members, const sovs_map& input,
                            const std::vector<float>& x, std::int64_t channels, bool itself, int threads) {
    const ByteType type{0.0234f, 119};
    Records records;
    records.inputs = {input};
    const std::vector<float> ones(channels, 1.25f), shifts(channels, -0.25f);
    if (op == "layer_norm") {
        records.tensor("step.gamma", ones, {channels});
        records.tensor("step.beta", shifts, {channels});
    }
    records.step(op, "step", {"in0"}, members + (itself ? type.said() : std::string()));
    if (!itself) records.step("convert", "bytes", {"step"}, type.said());
    records.step("convert", "y", {itself ? "step" : "bytes"});
    records.output("y");
    sovs_plan* plan = nullptr;
    CHECK_SAYING(records.make(&plan, threads) == SOVS_OK, sovs_last_error());
    std::vector<float> y(static_cast<std::size_t>(input.n * channels * input.h * input.w));
    CHECK(run_plan(plan, {buffer_of(x)}, {buffer_of(y)}, threads) == SOVS_OK);
    sovs_plan_destroy(plan);
    return y;
}

void expect_same(const std::string& op, const std::string& members, std::int64_t in, std::int64_t channels) {
    for (const std::int64_t pixels : {1, 3, 16, 17, 50, 64, 197, 330, 700})
        for (const sovs_layout layout : {SOVS_NCHW, SOVS_NHWC})
            for (const std::int64_t n : {1, 3}) {
                const sovs_map input = map_of(n, in, 1, pixels, layout);
                std::mt19937 g(static_cast<unsigned>(pixels));
                std::normal_distribution<float> normal(0.0f, 2.0f);
                std::vector<float> x(static_cast<std::size_t>(n * in * pixels));
                for (float& v : x) v = normal(g);
                const std::vector<float> apart = run_step(op, members, input, x, channels, false, 1);
                CHECK(run_step(op, members, input, x, channels, true, 1) == apart);
                CHECK(run_step(op, members, input, x, channels, true, 2) == apart);
            }
}

}  // namespace

TEST(layer_norms_write_the_bytes_that_converting_their_floats_gives) {
    for (const std::int64_t channels : {1, 15, 40, 200})
        expect_same("layer_norm", ", \"eps\": 1e-5", channels, channels);
}

TEST(attentions_write_the_bytes_that_converting_their_floats_gives) {
    expect_same("attention", ", \"heads\": 2, \"head_channels\": 6, \"first\": [0, 12, 24], \"scale\": 0.4", 36, 12);
}
