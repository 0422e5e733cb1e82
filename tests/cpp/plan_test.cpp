// Plans: the caller's buffers, programs of several inputs, and the time of each record.
#include <cmath>
#include <string>
#include <vector>

#include "problem.h"

namespace {

std::vector<float> random_numbers(std::size_t count, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0.0f, 1.0f);
    std::vector<float> made(count);
    for (float& v : made) v = normal(generator);
    return made;
}

// (n, c, pixels) as (n, pixels, c).
std::vector<float> channels_last(const std::vector<float>& given, std::int64_t n, std::int64_t c, std::int64_t pixels) {
    std::vector<float> moved(given.size());
    for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t channel = 0; channel < c; ++channel)
            for (std::int64_t p = 0; p < pixels; ++p)
                moved[(i * pixels + p) * c + channel] = given[(i * c + channel) * pixels + p];
    return moved;
}

// A convolution of a plan's own, with one input or two.
struct OneConv {
    Problem p;
    Data data{p};
    sovs_plan* plan = nullptr;
    std::vector<float> y;

    explicit OneConv(bool residual = false) {
        p.residual = residual;
        sovs_weights* weights = data.weights(p);
        plan = plan_of(p, weights);
        sovs_weights_destroy(weights);
        y.resize(p.n * p.out_channels * p.out_h() * p.out_w());
    }
    OneConv(const OneConv&) = delete;
    ~OneConv() { sovs_plan_destroy(plan); }
};

}  // namespace

TEST(buffers_with_too_few_bytes_are_refused) {
    OneConv conv;
    const sovs_buffer input = buffer_of(conv.data.x), output = buffer_of(conv.y);
    CHECK(input.bytes == 2048 && output.bytes == 2048);
    sovs_buffer small = input;
    small.bytes -= 1;
    CHECK(refused(run_plan(conv.plan, {small}, {output}), "a buffer of 2048 bytes of f32, got 2047 of f32"));
    small.bytes = 0;
    CHECK(refused(run_plan(conv.plan, {small}, {output}), "2048 bytes of f32, got 0"));
    small = output;
    small.bytes -= 1;
    CHECK(refused(run_plan(conv.plan, {input}, {small}), "2048 bytes of f32, got 2047"));
}

TEST(buffers_may_be_larger_than_their_maps_and_are_not_written_past_them) {
    OneConv conv;
    const std::vector<float> expected = run(conv.p, conv.data, conv.plan);
    std::vector<float> x = conv.data.x, y(expected.size() + 5, -77.0f);
    x.resize(x.size() + 3, NAN);
    CHECK(run_plan(conv.plan, {buffer_of(x)}, {buffer_of(y)}) == SOVS_OK);
    CHECK(std::equal(expected.begin(), expected.end(), y.begin()));
    CHECK(std::vector<float>(y.end() - 5, y.end()) == std::vector<float>(5, -77.0f));
}

TEST(buffers_of_another_type_are_refused) {
    OneConv conv;
    const sovs_buffer input = buffer_of(conv.data.x), output = buffer_of(conv.y);
    for (const auto& [dtype, name] :
         {std::pair{SOVS_U8, "u8"}, {SOVS_S8, "s8"}, {SOVS_S32, "s32"}, {SOVS_BF16, "bf16"}}) {
        sovs_buffer other = input;
        other.dtype = dtype;
        CHECK(refused(run_plan(conv.plan, {other}, {output}), std::string("of f32, got 2048 of ") + name));
        other = output;
        other.dtype = dtype;
        CHECK(refused(run_plan(conv.plan, {input}, {other}), std::string("of f32, got 2048 of ") + name));
    }
    for (const std::int64_t dtype : {std::int64_t{-1}, std::int64_t{5}, std::int64_t{1} << 40}) {
        sovs_buffer other = input;
        other.dtype = dtype;
        CHECK(refused(run_plan(conv.plan, {other}, {output}), "a type of sovs_dtype"));
    }
}

TEST(buffers_without_data_are_refused) {
    OneConv conv;
    const sovs_buffer input = buffer_of(conv.data.x), output = buffer_of(conv.y);
    sovs_buffer empty = input;
    empty.data = nullptr;
    CHECK(refused(run_plan(conv.plan, {empty}, {output}), "a buffer with data, got NULL"));
    CHECK(refused(run_plan(conv.plan, {input}, {empty}), "a buffer with data, got NULL"));
    CHECK(refused(sovs_plan_run(conv.plan, nullptr, 1, &output, 1, 1), "an array of structs, got NULL"));
    CHECK(refused(sovs_plan_run(conv.plan, &input, 1, nullptr, 1, 1), "an array of structs, got NULL"));
    CHECK(refused(sovs_plan_run(nullptr, &input, 1, &output, 1, 1), "plan, got NULL"));
    CHECK(refused(sovs_plan_time(conv.plan, &input, 1, &output, 1, 1, nullptr), "seconds, got NULL"));
}

TEST(more_or_fewer_buffers_than_maps_are_refused) {
    OneConv conv(true);
    const sovs_buffer x = buffer_of(conv.data.x), residual = buffer_of(conv.data.residual), y = buffer_of(conv.y);
    CHECK(run_plan(conv.plan, {x, residual}, {y}) == SOVS_OK);
    CHECK(refused(run_plan(conv.plan, {x}, {y}), "2 buffers, got 1"));
    CHECK(refused(run_plan(conv.plan, {x, residual, x}, {y}), "2 buffers, got 3"));
    CHECK(refused(run_plan(conv.plan, {}, {y}), "2 buffers, got 0"));
    CHECK(refused(run_plan(conv.plan, {x, residual}, {}), "1 buffers, got 0"));
    CHECK(refused(run_plan(conv.plan, {x, residual}, {y, y}), "1 buffers, got 2"));
    CHECK(refused(sovs_plan_run(conv.plan, &x, -1, &y, 1, 1), "an array of structs"));
}

TEST(maps_that_are_not_the_programs_are_refused) {
    Problem p;
    p.residual = true;
    sovs_weights* weights = Data(p).weights(p);
    const auto attempt = [&](const std::vector<sovs_map>& maps, const std::vector<std::int64_t>& layouts) {
        Records records;
        records.inputs = {map_of(1, 8, 8, 8), map_of(1, 8, 8, 8)};
        records.use("conv", weights);
        records.step("conv2d", "conv", {"in0", "in1"}, plain_conv());
        records.output("conv");
        sovs_program* program = nullptr;
        CHECK(records.program(&program) == SOVS_OK);
        records.inputs = maps;
        records.layouts = layouts;
        sovs_plan* plan = nullptr;
        const sovs_status status = records.plan(program, &plan);
        sovs_plan_destroy(plan);
        sovs_program_destroy(program);
        return status;
    };
    const sovs_map whole = map_of(1, 8, 8, 8);
    CHECK(attempt({whole, whole}, {SOVS_NHWC}) == SOVS_OK);
    CHECK(refused(attempt({whole}, {SOVS_NCHW}), "2 inputs, got 1"));
    CHECK(refused(attempt({whole, whole, whole}, {SOVS_NCHW}), "2 inputs, got 3"));
    CHECK(refused(attempt({whole, whole}, {}), "1 outputs, got 0"));
    CHECK(refused(attempt({whole, whole}, {SOVS_NCHW, SOVS_NCHW}), "1 outputs, got 2"));
    CHECK(refused(attempt({whole, whole}, {2}), "layout SOVS_NCHW or SOVS_NHWC"));
    CHECK(refused(attempt({whole, map_of(1, 7, 8, 8)}, {SOVS_NCHW}), "8 channels of in1, got 7"));
    CHECK(refused(attempt({whole, map_of(1, 8, 8, 8, -1)}, {SOVS_NCHW}), "layout SOVS_NCHW or SOVS_NHWC"));
    CHECK(refused(attempt({whole, map_of(0, 8, 8, 8)}, {SOVS_NCHW}), "at least 1"));
    CHECK(refused(attempt({whole, map_of(std::int64_t{1} << 62, 8, 8, 8)}, {SOVS_NCHW}), "from 1 to 2147483647"));
    sovs_map other = whole;
    other.dtype = SOVS_U8;
    CHECK(refused(attempt({other, whole}, {SOVS_NCHW}), "a map of f32 as the program says of in0, got u8"));
    other.dtype = 9;
    CHECK(refused(attempt({whole, other}, {SOVS_NCHW}), "a type of sovs_dtype"));
    sovs_weights_destroy(weights);
}

TEST(inputs_in_two_layouts_give_the_bits_of_one) {
    Problem p;
    p.n = 2;
    p.h = 6;
    p.w = 5;
    p.in_channels = 20;
    p.out_channels = 12;
    p.kernel_h = p.kernel_w = 3;
    p.pad_h = p.pad_w = 1;
    Problem q = p;
    q.seed = 2;
    q.residual = true;
    const Data first(p);
    Data second(q);
    second.residual = run(p, first);
    const std::vector<float> expected = run(q, second);

    sovs_weights *wa = first.weights(p), *wb = second.weights(q);
    for (const sovs_layout a : {SOVS_NCHW, SOVS_NHWC})
        for (const sovs_layout b : {SOVS_NCHW, SOVS_NHWC})
            for (const sovs_layout out : {SOVS_NCHW, SOVS_NHWC}) {
                Records records;
                records.inputs = {map_of(2, 20, 6, 5, a), map_of(2, 20, 6, 5, b)};
                records.use("a", wa);
                records.use("b", wb);
                records.step("conv2d", "a", {"in0"}, conv_members(p.params()));
                records.step("conv2d", "b", {"in1", "a"}, conv_members(q.params()));
                records.output("b", out);
                sovs_plan* plan = nullptr;
                CHECK_SAYING(records.make(&plan, 2) == SOVS_OK, sovs_last_error());
                const std::vector<float> x = a == SOVS_NCHW ? first.x : channels_last(first.x, 2, 20, 30);
                const std::vector<float> z = b == SOVS_NCHW ? second.x : channels_last(second.x, 2, 20, 30);
                std::vector<float> y(expected.size(), -77.0f);
                CHECK_SAYING(run_plan(plan, {buffer_of(x), buffer_of(z)}, {buffer_of(y)}, 2) == SOVS_OK,
                             sovs_last_error());
                CHECK(y == (out == SOVS_NCHW ? expected : channels_last(expected, 2, 12, 30)));
                CHECK(x == (a == SOVS_NCHW ? first.x : channels_last(first.x, 2, 20, 30)));  // inputs are not written
                sovs_plan_destroy(plan);
            }
    sovs_weights_destroy(wa);
    sovs_weights_destroy(wb);
}

TEST(attention_takes_queries_of_an_input_of_their_own_in_another_layout) {
    constexpr std::int64_t kImages = 2, kHeads = 3, kDepth = 5, kChannels = kHeads * kDepth, kKeys = 7, kQueries = 4;
    const std::vector<float> x = random_numbers(kImages * 2 * kChannels * kKeys, 1);
    const std::vector<float> q = random_numbers(kImages * kChannels * kQueries, 2);
    const auto key = [&](std::int64_t i, std::int64_t c, std::int64_t p) {
        return static_cast<double>(x[(i * 2 * kChannels + c) * kKeys + p]);
    };
    const auto query = [&](std::int64_t i, std::int64_t c, std::int64_t p) {
        return static_cast<double>(q[(i * kChannels + c) * kQueries + p]);
    };
    std::vector<double> expected(q.size(), 0.0);
    for (std::int64_t i = 0; i < kImages; ++i)
        for (std::int64_t head = 0; head < kHeads; ++head)
            for (std::int64_t p = 0; p < kQueries; ++p) {
                double weights[kKeys], total = 0.0;
                for (std::int64_t k = 0; k < kKeys; ++k) {
                    double score = 0.0;
                    for (std::int64_t d = head * kDepth; d < (head + 1) * kDepth; ++d)
                        score += 0.25 * query(i, d, p) * key(i, d, k);
                    total += weights[k] = std::exp(score);
                }
                for (std::int64_t d = head * kDepth; d < (head + 1) * kDepth; ++d)
                    for (std::int64_t k = 0; k < kKeys; ++k)
                        expected[(i * kChannels + d) * kQueries + p] += weights[k] / total * key(i, kChannels + d, k);
            }
    for (const sovs_layout keys : {SOVS_NCHW, SOVS_NHWC})
        for (const sovs_layout queries : {SOVS_NCHW, SOVS_NHWC}) {
            Records records;
            records.inputs = {map_of(kImages, kChannels, 2, 2, queries),
                              map_of(kImages, 2 * kChannels, 1, kKeys, keys)};
            records.step("attention", "mix", {"in1", "in0"},
                         ", \"heads\": 3, \"head_channels\": 5, \"first\": [0, 0, 15], \"scale\": 0.25");
            records.output("mix");
            sovs_plan* plan = nullptr;
            CHECK_SAYING(records.make(&plan) == SOVS_OK, sovs_last_error());
            const sovs_step_info info = last_step(plan);
            CHECK(info.c == kChannels && info.h == 2 && info.w == 2);
            const std::vector<float> from = keys == SOVS_NCHW ? x : channels_last(x, kImages, 2 * kChannels, kKeys);
            const std::vector<float> own = queries == SOVS_NCHW ? q : channels_last(q, kImages, kChannels, kQueries);
            std::vector<float> y(q.size());
            CHECK_SAYING(run_plan(plan, {buffer_of(own), buffer_of(from)}, {buffer_of(y)}) == SOVS_OK,
                         sovs_last_error());
            double worst = 0.0;
            for (std::size_t i = 0; i < y.size(); ++i) worst = std::fmax(worst, std::fabs(y[i] - expected[i]));
            CHECK_SAYING(worst <= 2e-6, std::to_string(worst));
            sovs_plan_destroy(plan);
        }
}

TEST(queries_of_another_batch_are_refused) {
    Records records;
    records.inputs = {map_of(2, 4, 1, 3), map_of(1, 2, 1, 3)};
    records.step("attention", "mix", {"in0", "in1"},
                 ", \"heads\": 1, \"head_channels\": 2, \"first\": [0, 0, 2], \"scale\": 1");
    records.output("mix");
    CHECK(refused(records.attempt(), "one batch in mix"));
}

TEST(an_input_may_be_read_twice_by_one_step_or_by_none) {
    Problem p;
    p.residual = true;
    Data data(p);
    data.residual = data.x;
    const std::vector<float> expected = run(p, data);
    sovs_weights* weights = data.weights(p);
    Records records;
    records.inputs = {map_of(1, 3, 2, 2), map_of(1, 8, 8, 8)};
    records.use("conv", weights);
    records.step("conv2d", "conv", {"in1", "in1"}, plain_conv());
    records.step("avg_pool2x2", "nobody", {"in1"});
    records.output("conv");
    sovs_plan* plan = nullptr;
    CHECK_SAYING(records.make(&plan) == SOVS_OK, sovs_last_error());
    const std::vector<float> unread(12, NAN);
    std::vector<float> y(expected.size());
    CHECK(run_plan(plan, {buffer_of(unread), buffer_of(data.x)}, {buffer_of(y)}) == SOVS_OK);
    CHECK(y == expected);
    sovs_plan_destroy(plan);
    sovs_weights_destroy(weights);
}

TEST(an_output_that_steps_read_comes_out_whole) {
    const Problem p;
    const Data data(p);
    const std::vector<float> expected = run(p, data);
    sovs_weights* weights = data.weights(p);
    Records records;
    records.inputs = {map_of(1, 8, 8, 8)};
    records.use("conv", weights);
    records.step("conv2d", "conv", {"in0"}, plain_conv());
    records.step("avg_pool2x2", "pool", {"conv"});
    records.output("pool", SOVS_NHWC);
    records.output("conv", SOVS_NHWC);
    sovs_plan* plan = nullptr;
    CHECK_SAYING(records.make(&plan) == SOVS_OK, sovs_last_error());
    std::vector<float> conv(8 * 64), pooled(8 * 16);
    CHECK(run_plan(plan, {buffer_of(data.x)}, {buffer_of(pooled), buffer_of(conv)}) == SOVS_OK);
    CHECK(conv == channels_last(expected, 1, 8, 64));
    double worst = 0.0;
    for (std::int64_t y = 0; y < 4; ++y)
        for (std::int64_t x = 0; x < 4; ++x)
            for (std::int64_t c = 0; c < 8; ++c) {
                double sum = 0.0;
                for (const std::int64_t pixel : {0, 1, 8, 9}) sum += conv[(16 * y + 2 * x + pixel) * 8 + c];
                worst = std::fmax(worst, std::fabs(sum / 4 - pooled[(4 * y + x) * 8 + c]));
            }
    CHECK(worst <= 1e-6);
    sovs_plan_destroy(plan);
    sovs_weights_destroy(weights);
}

TEST(the_time_of_a_run_is_told_for_each_record) {
    Problem p;
    p.in_channels = p.out_channels = 32;
    p.h = p.w = 40;
    const Data data(p);
    sovs_weights* weights = data.weights(p);
    Records records;
    records.inputs = {map_of(1, 32, 40, 40)};
    records.use("conv", weights);
    records.step("conv2d", "conv", {"in0"}, plain_conv());
    records.step("avg_pool2x2", "pool", {"conv"});
    records.output("pool");
    sovs_plan* plan = nullptr;
    CHECK_SAYING(records.make(&plan) == SOVS_OK, sovs_last_error());
    std::vector<float> timed(32 * 400), alone(32 * 400);
    const sovs_buffer input = buffer_of(data.x), output = buffer_of(timed);
    double seconds[] = {-1.0, -1.0, -77.0};
    CHECK(sovs_plan_time(plan, &input, 1, &output, 1, 1, seconds) == SOVS_OK);
    CHECK(seconds[0] > 0.0 && seconds[1] > 0.0 && seconds[2] == -77.0);
    CHECK(run_plan(plan, {input}, {buffer_of(alone)}) == SOVS_OK);
    CHECK(timed == alone);
    sovs_plan_destroy(plan);
    sovs_weights_destroy(weights);
}
