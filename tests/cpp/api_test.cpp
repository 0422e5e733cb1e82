// The C API: what it refuses, plans of several steps, and use from several threads and after fork.
#include <atomic>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "problem.h"

namespace {

sovs_status create(sovs_weights_desc desc) {
    sovs_weights* weights = nullptr;
    const sovs_status status = sovs_weights_create(&desc, &weights);
    sovs_weights_destroy(weights);
    return status;
}

struct Valid {
    std::vector<std::int32_t> row_ptr{0, 2, 3};
    std::vector<std::int32_t> indices{0, 3, 1};
    std::vector<float> values{1, 2, 3};
    sovs_weights_desc desc() const {
        return {sizeof(sovs_weights_desc),
                2,
                4,
                1,
                1,
                1,
                1,
                row_ptr.data(),
                indices.data(),
                32,
                values.data(),
                SOVS_F32,
                nullptr,
                nullptr};
    }
};

bool refused(const sovs_weights_desc& desc, const char* word) { return refused(create(desc), word); }

}  // namespace

TEST(damaged_weights_are_refused_with_a_reason) {
    Valid v;
    CHECK(create(v.desc()) == SOVS_OK);
    auto d = v.desc();
    d.block_rows = 3;
    CHECK(refused(d, "block_rows"));
    d = v.desc();
    d.index_bits = 8;
    CHECK(refused(d, "index_bits"));
    d = v.desc();
    d.row_ptr = nullptr;
    CHECK(refused(d, "row_ptr"));
    d = v.desc();
    d.groups = 3;
    CHECK(refused(d, "groups"));
    v.indices = {0, 4, 1};
    CHECK(refused(v.desc(), "inside"));
    v.indices = {3, 3, 1};
    CHECK(refused(v.desc(), "ascending"));
    v = Valid();
    v.row_ptr = {0, 2, 1};
    CHECK(refused(v.desc(), "never to fall"));
}

TEST(weights_give_back_what_was_packed) {
    for (const std::int64_t block_rows : {1, 4}) {
        Problem p;
        p.kernel_h = 3;
        p.kernel_w = 2;
        p.out_channels = 10;  // the last block is cut
        p.block_rows = block_rows;
        const Data data(p);
        sovs_weights* weights = data.weights(p);
        CHECK(sovs_weights_packed_bytes(weights) > 0 &&
              sovs_weights_packed_bytes(weights) == sovs_weights_bytes(weights));
        std::vector<float> dense(data.dense.size());
        CHECK(sovs_weights_unpack(weights, dense.data()) == SOVS_OK);
        const std::int64_t taps = p.kernel_h * p.kernel_w;
        bool same = true;
        for (std::int64_t o = 0; o < p.out_channels; ++o)
            for (std::int64_t k = 0; k < p.columns(); ++k)  // tap-major in the problem
                same = same && dense[o * p.columns() + k % p.in_channels * taps + k / p.in_channels] ==
                                   data.dense[o * p.columns() + k];
        CHECK(same);
        CHECK(sovs_weights_unpack(weights, nullptr) == SOVS_INVALID_ARGUMENT);
        sovs_weights_destroy(weights);
    }
}

TEST(plans_refuse_shapes_that_do_not_fit) {
    const Valid v;
    const auto desc = v.desc();
    sovs_weights* weights = nullptr;
    CHECK(sovs_weights_create(&desc, &weights) == SOVS_OK);
    const auto attempt = [&](std::int64_t channels, std::int64_t height, const sovs_conv2d_params& params) {
        Records records;
        records.inputs.push_back(map_of(1, channels, height, 5));
        records.use("conv", weights);
        records.step("conv2d", "conv", {"in0"}, conv_members(params));
        records.output("conv");
        return records.attempt();
    };
    constexpr std::size_t kSize = sizeof(sovs_conv2d_params);
    const sovs_conv2d_params plain{kSize, 1, 1, 0, 0, 1, 1, 0};
    CHECK(attempt(4, 5, plain) == SOVS_OK);
    CHECK(refused(attempt(3, 5, plain), "weights that take 3 channels, got 4 in conv"));
    CHECK(refused(attempt(4, 0, plain), "at least 1"));
    CHECK(refused(attempt(4, std::int64_t{1} << 62, plain), "sizes from 1 to"));
    CHECK(refused(attempt(4, 5, {kSize, 0, 1, 0, 0, 1, 1, 0}), "stride from 1"));
    CHECK(refused(attempt(4, 5, {kSize, 1, 1, 0, 0, 0, 1, 0}), "dilation from 1"));
    CHECK(refused(attempt(4, 5, {kSize, 1, 1, -1, 0, 1, 1, 0}), "padding from 0"));
    sovs_weights_destroy(weights);
}

TEST(a_kernel_that_reaches_past_its_map_is_refused) {
    Problem p;
    p.kernel_h = p.kernel_w = 3;
    sovs_weights* weights = Data(p).weights(p);
    const auto attempt = [&](std::int64_t height) {
        Records records;
        records.inputs.push_back(map_of(1, 8, height, 5));
        records.use("conv", weights);
        records.step("conv2d", "conv", {"in0"}, plain_conv());
        records.output("conv");
        return records.attempt();
    };
    CHECK(attempt(3) == SOVS_OK);
    CHECK(refused(attempt(2), "a larger input than 2x5: nothing is left of it in conv"));
    sovs_weights_destroy(weights);
}

TEST(a_residual_of_another_size_or_with_other_channels_is_refused) {
    const Problem p;
    sovs_weights* weights = Data(p).weights(p);
    const auto attempt = [&](const sovs_map& residual) {
        Records records;
        records.inputs = {map_of(2, 8, 6, 5), residual};
        records.use("conv", weights);
        records.step("conv2d", "conv", {"in0", "in1"}, plain_conv());
        records.output("conv");
        return records.attempt();
    };
    CHECK(attempt(map_of(2, 8, 6, 5)) == SOVS_OK);
    CHECK(attempt(map_of(2, 8, 6, 5, SOVS_NHWC)) == SOVS_OK);
    CHECK(refused(attempt(map_of(2, 8, 5, 6)), "a residual of the output's size in conv"));
    CHECK(refused(attempt(map_of(2, 9, 6, 5)), "a residual with 8 channels, got 9 in conv"));
    CHECK(refused(attempt(map_of(1, 8, 6, 5)), "one batch in conv"));
    sovs_weights_destroy(weights);
}

TEST(two_steps_in_one_plan_equal_two_plans) {
    Problem first, second;
    first.out_channels = 12;
    first.activation = SOVS_RELU;
    second.in_channels = 12;
    second.out_channels = 8;
    second.kernel_h = second.kernel_w = 3;
    second.pad_h = second.pad_w = 1;
    second.residual = true;
    second.seed = 2;
    const Data a(first);
    Data b(second);
    b.residual = a.x;  // a skip connection
    b.x = run(first, a);
    const std::vector<float> expected = run(second, b);

    sovs_weights *wa = a.weights(first), *wb = b.weights(second);
    Records records;
    records.inputs.push_back(map_of(1, 8, 8, 8));
    records.use("one", wa);
    records.use("three", wb);
    records.step("conv2d", "one", {"in0"}, conv_members(first.params()));
    records.step("conv2d", "three", {"one", "in0"}, conv_members(second.params()));
    records.output("three");
    sovs_plan* plan = nullptr;
    CHECK_SAYING(records.make(&plan, 2) == SOVS_OK, sovs_last_error());
    sovs_weights_destroy(wa);
    sovs_weights_destroy(wb);
    std::vector<float> y(expected.size());
    for (int again = 0; again < 2; ++again) {
        CHECK(run_plan(plan, {buffer_of(a.x)}, {buffer_of(y)}, 2) == SOVS_OK);
        CHECK(y == expected);
    }
    sovs_plan_destroy(plan);
}

TEST(sixteen_callers_share_one_plan) {
    Problem p;
    p.in_channels = 30;
    p.out_channels = 20;
    p.h = p.w = 25;
    p.threads = 3;
    const Data data(p);
    sovs_weights* weights = data.weights(p);
    sovs_plan* plan = plan_of(p, weights);
    sovs_weights_destroy(weights);
    const std::vector<float> expected = run(p, data, plan);
    std::vector<std::thread> callers;
    std::vector<int> wrong(16, 0);
    for (int caller = 0; caller < 16; ++caller)
        callers.emplace_back([&, caller] {
            for (int i = 0; i < 20; ++i) {
                std::vector<float> y(expected.size());
                if (run_plan(plan, {buffer_of(data.x)}, {buffer_of(y)}, p.threads) != SOVS_OK || y != expected)
                    ++wrong[caller];
            }
        });
    for (std::thread& caller : callers) caller.join();
    for (const int count : wrong) CHECK(count == 0);
    sovs_plan_destroy(plan);
}

TEST(pooling_is_the_mean_of_two_by_two_pixels_in_both_layouts) {
    for (const sovs_layout layout : {SOVS_NCHW, SOVS_NHWC})
        for (const std::int64_t channels : {1, 3, 16, 21})
            for (const std::int64_t size : {2, 3, 8, 37, 130}) {
                const std::int64_t n = 2, h = size, w = size + 1, oh = h / 2, ow = w / 2;
                std::vector<float> x(n * channels * h * w), y(n * channels * oh * ow, -77.0f);
                std::mt19937 generator(1);
                std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
                for (float& v : x) v = uniform(generator);
                Records records;
                records.inputs.push_back(map_of(n, channels, h, w, layout));
                records.step("avg_pool2x2", "pool", {"in0"});
                records.output("pool", layout);
                sovs_plan* plan = nullptr;
                CHECK_SAYING(records.make(&plan, 2) == SOVS_OK, sovs_last_error());
                CHECK(run_plan(plan, {buffer_of(x)}, {buffer_of(y)}, 2) == SOVS_OK);
                sovs_plan_destroy(plan);
                const auto at = [&](std::int64_t i, std::int64_t c, std::int64_t r, std::int64_t col, std::int64_t hh,
                                    std::int64_t ww) {
                    return layout == SOVS_NCHW ? ((i * channels + c) * hh + r) * ww + col
                                               : ((i * hh + r) * ww + col) * channels + c;
                };
                double worst = 0.0;
                for (std::int64_t i = 0; i < n; ++i)
                    for (std::int64_t c = 0; c < channels; ++c)
                        for (std::int64_t r = 0; r < oh; ++r)
                            for (std::int64_t col = 0; col < ow; ++col) {
                                double sum = 0.0;
                                for (int dr = 0; dr < 2; ++dr)
                                    for (int dc = 0; dc < 2; ++dc) sum += x[at(i, c, 2 * r + dr, 2 * col + dc, h, w)];
                                worst = std::fmax(worst, std::fabs(sum / 4 - y[at(i, c, r, col, oh, ow)]));
                            }
                CHECK(worst <= 3e-7);
            }
}

TEST(pooling_without_a_stride_keeps_the_size_and_refuses_a_dilation_of_0) {
    const auto attempt = [](int dilation, sovs_plan** plan) {
        Records records;
        records.inputs.push_back(map_of(1, 3, 8, 5));
        records.step("atrous_pool2x2", "pool", {"in0"}, ", \"dilation\": " + std::to_string(dilation));
        records.output("pool");
        return records.make(plan);
    };
    sovs_plan* plan = nullptr;
    CHECK(attempt(2, &plan) == SOVS_OK);
    const sovs_step_info pooled = last_step(plan);
    CHECK(pooled.c == 3 && pooled.h == 8 && pooled.w == 5);
    sovs_plan_destroy(plan);
    CHECK(refused(attempt(0, &plan), "dilation from 1"));
}

TEST(pooling_halves_its_map_and_refuses_one_that_leaves_nothing) {
    const auto attempt = [](std::int64_t height, sovs_plan** plan) {
        Records records;
        records.inputs.push_back(map_of(1, 3, height, 9));
        records.step("avg_pool2x2", "pool", {"in0"});
        records.output("pool");
        return records.make(plan);
    };
    sovs_plan* plan = nullptr;
    CHECK(attempt(7, &plan) == SOVS_OK);
    const sovs_step_info pooled = last_step(plan);
    CHECK(pooled.c == 3 && pooled.h == 3 && pooled.w == 4);
    sovs_plan_destroy(plan);
    CHECK(refused(attempt(1, &plan), "nothing is left of it in pool"));
}

namespace {

// A stand-in for an OpenMP runtime: as many threads as asked for, none kept.
int regions = 0;
void parallel_on_new_threads(void (*fn)(void*), void* data, unsigned threads, unsigned) {
    ++regions;
    std::vector<std::thread> team;
    for (unsigned i = 1; i < threads; ++i) team.emplace_back(fn, data);
    fn(data);
    for (std::thread& thread : team) thread.join();
}

}  // namespace

TEST(a_borrowed_runtime_runs_the_regions_with_the_same_bits) {
    Problem p;
    p.in_channels = 20;
    p.out_channels = 24;
    p.h = p.w = 40;
    p.kernel_h = p.kernel_w = 3;
    p.pad_h = p.pad_w = 1;
    p.threads = 3;
    const Data data(p);
    const auto own = run(p, data);
    regions = 0;
    sovs_use_openmp(parallel_on_new_threads);
    const auto borrowed = run(p, data);
    CHECK(regions > 0);
    sovs_use_openmp(nullptr);
    regions = 0;
    CHECK(run(p, data) == own);
    CHECK(regions == 0);
    CHECK(borrowed == own);
}

TEST(buffers_come_back_for_the_next_one_of_about_their_size) {
    constexpr std::size_t kMegabyte = 1 << 20;
    void *first = nullptr, *second = nullptr;
    // Larger than what other tests have left behind.
    CHECK(sovs_buffer_take(61 * kMegabyte, &first) == SOVS_OK);
    CHECK(reinterpret_cast<std::uintptr_t>(first) % (2 * kMegabyte) == 0);
    std::memset(first, 1, 61 * kMegabyte);
    const std::size_t idle = sovs_buffer_idle_bytes();
    CHECK(sovs_buffer_give(first) == SOVS_OK);
    CHECK(sovs_buffer_idle_bytes() == idle + 62 * kMegabyte);
    CHECK(sovs_buffer_take(32 * kMegabyte, &second) == SOVS_OK);  // more than half of it
    CHECK(second == first);
    CHECK(sovs_buffer_give(second) == SOVS_OK);
    CHECK(sovs_buffer_take(80 * kMegabyte, &second) == SOVS_OK);  // more than all of it
    CHECK(second != first);
    CHECK(sovs_buffer_give(second) == SOVS_OK);
}

TEST(buffers_that_nobody_took_are_refused) {
    float own = 0.0f;
    void* taken = nullptr;
    CHECK(sovs_buffer_give(&own) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_buffer_take(0, &taken) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_buffer_take(1, &taken) == SOVS_OK);
    CHECK(sovs_buffer_give(taken) == SOVS_OK);
    CHECK(sovs_buffer_give(taken) == SOVS_INVALID_ARGUMENT);
}

TEST(idle_buffers_stay_below_their_limit) {
    std::vector<void*> taken(40);
    for (void*& buffer : taken) CHECK(sovs_buffer_take(10 << 20, &buffer) == SOVS_OK);
    for (void* buffer : taken) CHECK(sovs_buffer_give(buffer) == SOVS_OK);
    CHECK(sovs_buffer_idle_bytes() <= (256u << 20));
    CHECK(sovs_buffer_idle_bytes() > (200u << 20));
}

TEST(a_forked_child_starts_its_own_threads) {
    Problem p;
    p.h = p.w = 64;
    p.threads = 4;
    const Data data(p);
    const std::vector<float> expected = run(p, data);  // the parent's workers exist from here on
    const pid_t child = fork();
    if (child == 0) _exit(run(p, data) == expected ? 0 : 1);
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(run(p, data) == expected);
}

TEST(a_child_forked_while_other_threads_use_weights_uses_them) {
    const Problem p;
    const Data data(p);
    sovs_weights* weights = data.weights(p);
    std::atomic<bool> stop{false};
    std::vector<std::thread> others;
    for (int i = 0; i < 2; ++i)
        others.emplace_back([&] {
            while (!stop) sovs_weights_bytes(weights);  // locked nearly all the time
        });
    for (int i = 0; i < 50; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(20);  // ends a child that waits for ever
            _exit(sovs_weights_bytes(weights) > 0 ? 0 : 1);
        }
        int status = 1;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        if (status != 0) break;
    }
    stop = true;
    for (std::thread& other : others) other.join();
    sovs_weights_destroy(weights);
}

TEST(streams_are_freed_with_their_plans) {
    Problem p;
    const Data data(p);
    sovs_weights* weights = data.weights(p);
    const std::size_t compact = sovs_weights_bytes(weights);
    sovs_plan* plan = plan_of(p, weights);
    CHECK(sovs_weights_bytes(weights) > compact);
    sovs_plan_destroy(plan);
    CHECK(sovs_weights_bytes(weights) == compact);
    sovs_weights_destroy(weights);
}
