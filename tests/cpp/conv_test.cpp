// Sparse convolution against the double-precision loop: shapes, layouts, tunings and threads.
#include <algorithm>
#include <string>

#include "problem.h"

TEST(every_random_problem_matches_double_precision) {
    for (unsigned seed = 1; seed <= 600; ++seed) {
        const Problem p = random_problem(seed);
        expect_right(p, name_of(p).c_str());
    }
}

TEST(shapes_of_clip_match_double_precision) {
    for (const std::int64_t block_rows : {1, 4})
        for (const std::int64_t size : {1, 7, 14, 20, 49}) {
            Problem p;
            p.block_rows = block_rows;
            p.in_channels = 70;
            p.out_channels = 50;
            p.h = p.w = size;
            p.density = 0.1;
            expect_right(p, name_of(p).c_str());
            p.kernel_h = p.kernel_w = 3;
            p.pad_h = p.pad_w = 1;
            p.activation = SOVS_RELU;
            expect_right(p, name_of(p).c_str());
        }
}

TEST(a_residual_of_another_layout_is_added) {
    for (const sovs_layout layout : {SOVS_NCHW, SOVS_NHWC})
        for (const std::int64_t n : {1, 3}) {
            Problem p;
            p.n = n;
            p.h = 5;
            p.in_channels = 6;
            p.layout = layout;
            p.residual = p.residual_in_other_layout = true;
            expect_right(p, name_of(p).c_str());
        }
}

TEST(bits_do_not_depend_on_tiles_parts_panels_or_threads) {
    Problem p;
    p.in_channels = 40;
    p.out_channels = 24;
    p.h = 19;
    p.w = 33;
    p.kernel_h = p.kernel_w = 3;
    p.pad_h = p.pad_w = 1;
    for (const std::int64_t block_rows : {1, 4}) {
        p.block_rows = block_rows;
        p.tuning = kLibraryChooses;
        p.threads = 1;
        const Data data(p);
        const std::vector<float> expected = run(p, data);
        for (const int threads : {1, 2, 4})
            for (const std::int64_t panel : {1, 2, 3})
                for (const std::int64_t k_tile : {1, 7, 40})
                    for (const std::int64_t parts : {1, 3})
                        for (const std::int64_t cols : {5, 33}) {
                            p.threads = threads;
                            p.tuning = {sizeof(sovs_tuning), 2, cols, k_tile, parts, panel};
                            CHECK_SAYING(run(p, data) == expected, name_of(p));
                        }
    }
}

TEST(layouts_agree_bit_by_bit) {
    Problem p;
    p.n = 2;
    p.in_channels = 20;
    p.out_channels = 30;
    p.residual = true;
    const Data data(p);
    const std::vector<float> nchw = run(p, data);
    Problem q = p;
    q.layout = SOVS_NHWC;
    Data moved(q);
    for (std::int64_t i = 0; i < p.n; ++i)
        for (std::int64_t y = 0; y < p.h; ++y)
            for (std::int64_t x = 0; x < p.w; ++x) {
                for (std::int64_t c = 0; c < p.in_channels; ++c)
                    moved.x[q.in_at(i, c, y, x)] = data.x[p.in_at(i, c, y, x)];
                for (std::int64_t o = 0; o < p.out_channels; ++o)
                    moved.residual[q.out_at(i, o, y, x)] = data.residual[p.out_at(i, o, y, x)];
            }
    const std::vector<float> nhwc = run(q, moved);
    bool same = true;
    for (std::int64_t i = 0; i < p.n; ++i)
        for (std::int64_t o = 0; o < p.out_channels; ++o)
            for (std::int64_t y = 0; y < p.h; ++y)
                for (std::int64_t x = 0; x < p.w; ++x)
                    same = same && nchw[p.out_at(i, o, y, x)] == nhwc[q.out_at(i, o, y, x)];
    CHECK(same);
}

TEST(dense_weights_match_double_precision) {
    for (const std::int64_t groups : {1, 2})
        for (const std::int64_t kernel : {1, 3}) {
            Problem p;
            p.groups = groups;
            p.in_channels = 10 * groups;
            p.out_channels = 9 * groups;
            p.kernel_h = p.kernel_w = kernel;
            p.pad_h = p.pad_w = kernel / 2;
            p.h = 11;
            p.w = 23;
            p.activation = SOVS_RELU;
            const Data data(p);
            // torch's order: input channel, then taps.
            std::vector<float> weight(data.dense.size());
            const std::int64_t taps = kernel * kernel;
            for (std::int64_t o = 0; o < p.out_channels; ++o)
                for (std::int64_t c = 0; c < p.group_in(); ++c)
                    for (std::int64_t t = 0; t < taps; ++t)
                        weight[(o * p.group_in() + c) * taps + t] = data.dense[o * p.columns() + t * p.group_in() + c];
            sovs_weights* weights = dense_weights(p, weight, data.bias.data());
            sovs_plan* plan = plan_of(p, weights);
            sovs_weights_destroy(weights);
            CHECK(worst_error(p, data, run(p, data, plan)) <= 1.0);
            sovs_plan_destroy(plan);
        }
}

TEST(an_empty_weight_gives_the_bias) {
    Problem p;
    p.density = 0.0;
    p.out_channels = 2;  // rows 0 and 1: neither the full nor the empty one of Data
    const Data data(p);
    CHECK(data.values.empty());
    const std::vector<float> y = run(p, data);
    CHECK(std::all_of(y.begin(), y.begin() + p.h * p.w, [&](float v) { return v == data.bias[0]; }));
}

TEST(nan_under_a_pruned_weight_does_not_spread_and_under_a_kept_one_does) {
    Problem p;
    p.in_channels = 2;
    p.out_channels = 1;
    p.density = 0.0;
    p.activation = SOVS_RELU;
    Data data(p);
    data.indices16 = {1};
    data.row_ptr = {0, 1};
    data.values = {2.0f};
    data.x[p.in_at(0, 0, 3, 3)] = NAN;
    data.x[p.in_at(0, 1, 5, 5)] = NAN;
    const std::vector<float> y = run(p, data);
    CHECK(!std::isnan(y[p.out_at(0, 0, 3, 3)]));
    CHECK(std::isnan(y[p.out_at(0, 0, 5, 5)]));
}

TEST(a_convolution_whose_kernel_is_larger_than_the_padded_map_is_refused) {
    for (const std::int64_t stride : {1, 2, 3}) {
        Problem p;
        p.kernel_h = p.kernel_w = 3;
        p.h = p.w = 2;
        p.pad_h = p.pad_w = 1;
        const Data data(p);
        sovs_weights* weights = data.weights(p);
        Records records;
        records.inputs.push_back(map_of(1, p.in_channels, 2, 2));
        records.use("y", weights);
        records.step("conv2d", "y", {"in0"},
                     conv_members({sizeof(sovs_conv2d_params), stride, stride, 0, 0, 1, 1, SOVS_NONE}));
        records.output("y");
        CHECK(refused(records.attempt(), "nothing is left of it in y"));
        sovs_weights_destroy(weights);
    }
}
