// int8: plans of s8 weights and u8 maps, exactly.
#include "byte_conv.h"

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
    check_conversion(ByteType{0.5f, 10}.said(), given, made);
}

TEST(int8_averages_are_rounded_half_up) {
    Records records;
    records.inputs.push_back(map_of(1, 2, 3, 5));
    const ByteType type{1.0f, 0};
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
    records.step("convert", "q", {"in0"}, ByteType{0.5f, 10}.said());
    records.output("q");
    CHECK(refused(records.attempt(), "expected f32 of a program's inputs and outputs, got u8"));
}

TEST(int8_maps_of_one_scale_alone_are_averaged) {
    Records records;
    records.inputs.push_back(map_of(1, 1, 2, 2));
    records.step("convert", "q", {"in0"}, ByteType{0.5f, 10}.said());
    records.step("avg_pool2x2", "p", {"q"}, ByteType{0.25f, 10}.said());
    records.step("convert", "y", {"p"});
    records.output("y");
    CHECK(refused(records.attempt(), "a pooled map of the input's scale and zero point"));
}
