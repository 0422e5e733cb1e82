// Tuning: the candidates of a convolution, their times, and what is refused.
#include <algorithm>
#include <cstring>

#include "problem.h"

namespace {

constexpr std::int32_t kRoom = 10;

struct Tuned {
    sovs_weights* weights;
    sovs_conv2d_params params;
    sovs_conv2d_place place;
    explicit Tuned(const Problem& p)
        : weights(Data(p).weights(p)),
          params(p.params()),
          place{sizeof(sovs_conv2d_place), p.n, p.h, p.w, SOVS_MAP_FREE, SOVS_MAP_FREE, 0, 0, SOVS_F32} {}
    ~Tuned() { sovs_weights_destroy(weights); }
    Tuned(const Tuned&) = delete;

    std::vector<sovs_tuning> candidates(std::int32_t room) const {
        std::vector<sovs_tuning> found(room, kLibraryChooses);
        CHECK_SAYING(sovs_conv2d_candidates(weights, &params, &place, found.data(), &room) == SOVS_OK,
                     sovs_last_error());
        found.resize(room);
        return found;
    }
    const char* backend() const {
        const char* name = nullptr;
        CHECK_SAYING(sovs_conv2d_backend(weights, &params, &place, &name) == SOVS_OK, sovs_last_error());
        return name;
    }
    sovs_status time(const std::vector<sovs_tuning>& tunings, std::int32_t rounds, double* seconds) const {
        return sovs_conv2d_time(weights, &params, &place, tunings.data(), static_cast<std::int32_t>(tunings.size()),
                                rounds, seconds);
    }
};

Problem three_by_three() {
    Problem p;
    p.in_channels = p.out_channels = 32;
    p.h = p.w = 40;
    p.kernel_h = p.kernel_w = 3;
    p.pad_h = p.pad_w = 1;
    return p;
}

bool same(const sovs_tuning& a, const sovs_tuning& b) { return std::memcmp(&a, &b, sizeof a) == 0; }

// That of the plan's convolution; copies of the caller's maps may stand beside it.
sovs_tuning tuning_of(const sovs_plan* plan) {
    sovs_step_info info{};
    info.size = sizeof info;
    for (std::int32_t i = 0; i < sovs_plan_step_count(plan) && info.k_tile == 0; ++i)
        CHECK(sovs_plan_step_info(plan, i, &info) == SOVS_OK);
    return {sizeof(sovs_tuning), info.tile_rows, info.tile_cols, info.k_tile, info.row_parts, info.panel};
}

}  // namespace

TEST(candidates_are_distinct_and_of_several_panels) {
    const Tuned conv(three_by_three());
    const std::vector<sovs_tuning> found = conv.candidates(kRoom);
    CHECK(found.size() == kRoom);
    for (std::size_t i = 0; i < found.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) CHECK(!same(found[i], found[j]));
    CHECK(std::any_of(found.begin(), found.end(), [&](const sovs_tuning& t) { return t.panel != found[0].panel; }));
}

TEST(the_first_candidate_is_what_a_plan_would_choose) {
    const Problem p = three_by_three();
    const Tuned conv(p);
    sovs_plan* plan = plan_of(p, conv.weights);
    const sovs_tuning chosen = tuning_of(plan);
    sovs_plan_destroy(plan);
    const sovs_tuning first = conv.candidates(1)[0];
    CHECK(first.tile_rows == chosen.tile_rows && first.tile_cols == chosen.tile_cols);
    CHECK(first.k_tile == chosen.k_tile && first.panel == chosen.panel);
}

TEST(the_first_candidate_of_the_caller_s_map_is_what_a_plan_would_choose) {
    for (const sovs_layout layout : {SOVS_NCHW, SOVS_NHWC}) {
        Problem p;
        p.in_channels = 256;
        p.h = p.w = 40;
        p.layout = layout;
        Tuned conv(p);
        conv.place.input = conv.place.output = layout;
        conv.place.alone = 1;
        sovs_plan* plan = plan_of(p, conv.weights);
        const sovs_tuning chosen = tuning_of(plan);
        sovs_plan_destroy(plan);
        const sovs_tuning first = conv.candidates(1)[0];
        CHECK(first.tile_cols == chosen.tile_cols && first.k_tile == chosen.k_tile && first.panel == chosen.panel);
    }
}

TEST(candidates_of_a_pointwise_convolution_differ_in_k) {
    Problem p;
    p.in_channels = 256;
    p.h = p.w = 40;
    const std::vector<sovs_tuning> found = Tuned(p).candidates(kRoom);
    CHECK(found.size() > 2);
    for (const sovs_tuning& t : found) CHECK(t.k_tile > 0 && t.tile_rows == 1 && t.tile_cols == found[0].tile_cols);
}

TEST(every_candidate_gives_the_same_bits) {
    for (const std::int64_t block_rows : {1, 4}) {
        Problem p = three_by_three();
        p.block_rows = block_rows;
        const Data data(p);
        const std::vector<float> expected = run(p, data);
        for (const sovs_tuning& tuning : Tuned(p).candidates(kRoom)) {
            p.tuning = tuning;
            CHECK(run(p, data) == expected);
        }
    }
}

TEST(every_candidate_has_a_time_for_any_shape) {
    for (const std::int64_t kernel : {1, 3})
        for (const std::int64_t stride : {1, 2})
            for (const std::int64_t size : {3, 7, 40}) {
                Problem p;
                p.n = 2;
                p.groups = 2;
                p.in_channels = 6;
                p.kernel_h = p.kernel_w = kernel;
                p.stride_h = p.stride_w = stride;
                p.h = size;
                p.w = size + 1;
                const Tuned conv(p);
                const std::vector<sovs_tuning> found = conv.candidates(kRoom);
                std::vector<double> seconds(found.size(), -1.0);
                CHECK_SAYING(conv.time(found, 1, seconds.data()) == SOVS_OK, sovs_last_error());
                for (const double s : seconds) CHECK(s > 0.0 && s < 1.0);
            }
}

TEST(more_weights_take_more_time) {
    Problem p;
    p.in_channels = p.out_channels = 256;
    p.h = p.w = 30;
    double seconds[2];
    for (const int full : {0, 1}) {
        p.density = full ? 1.0 : 0.01;
        CHECK(Tuned(p).time({kLibraryChooses}, 3, &seconds[full]) == SOVS_OK);
    }
    CHECK(seconds[1] > seconds[0]);
}

TEST(dense_weights_of_3x3_are_timed_too) {
    Problem p = three_by_three();
    p.density = 1.0;
    std::vector<float> dense(p.out_channels * p.columns(), 0.5f);
    Tuned conv(p);
    sovs_weights_destroy(conv.weights);
    conv.weights = dense_weights(p, dense, nullptr);
    for (const sovs_map_place output : {SOVS_MAP_FREE, SOVS_MAP_TILED}) {
        conv.place.output = output;
        CHECK((conv.candidates(kRoom).size() == 1) == (output == SOVS_MAP_FREE));  // Winograd's scheme has no tiles
        double seconds = 0.0;
        CHECK_SAYING(conv.time({kLibraryChooses}, 1, &seconds) == SOVS_OK, sovs_last_error());
        CHECK(seconds > 0.0);
    }
}

TEST(a_plan_s_only_dense_3x3_is_timed_between_copies) {
    Problem p = three_by_three();
    p.in_channels = p.out_channels = 64;
    std::vector<float> dense(p.out_channels * p.columns(), 0.5f);
    Tuned conv(p);
    sovs_weights_destroy(conv.weights);
    conv.weights = dense_weights(p, dense, nullptr);
    conv.place.alone = 1;
    for (const sovs_map_place input : {SOVS_MAP_NCHW, SOVS_MAP_NHWC})
        for (const sovs_map_place output : {SOVS_MAP_NCHW, SOVS_MAP_NHWC}) {
            conv.place.input = input;
            conv.place.output = output;
            CHECK(std::strcmp(conv.backend(), "winograd") == 0 && conv.candidates(kRoom).size() == 1);
            double seconds = 0.0;
            CHECK_SAYING(conv.time({kLibraryChooses}, 1, &seconds) == SOVS_OK, sovs_last_error());
            CHECK(seconds > 0.0);
        }
}

TEST(tuning_refuses_what_makes_no_sense) {
    Tuned conv(three_by_three());
    sovs_tuning tuning = kLibraryChooses;
    double seconds = 0.0;
    CHECK(refused(sovs_conv2d_time(conv.weights, &conv.params, &conv.place, &tuning, 0, 1, &seconds),
                  "at least 1 tuning"));
    CHECK(refused(conv.time({tuning}, 0, &seconds), "at least 1 round"));
    CHECK(refused(conv.time({{sizeof(sovs_tuning), 0, 0, 0, 0, 9}}, 1, &seconds), "panel kind"));
    std::int32_t room = 0;
    CHECK(refused(sovs_conv2d_candidates(conv.weights, &conv.params, &conv.place, &tuning, &room), "room"));
    room = 1;
    CHECK(refused(sovs_conv2d_candidates(nullptr, &conv.params, &conv.place, &tuning, &room), "NULL"));
    const char* name = nullptr;
    CHECK(refused(sovs_conv2d_backend(nullptr, &conv.params, &conv.place, &name), "NULL"));
    CHECK(refused(sovs_conv2d_backend(conv.weights, &conv.params, &conv.place, nullptr), "NULL"));
    conv.place.input = 4;
    CHECK(refused(sovs_conv2d_backend(conv.weights, &conv.params, &conv.place, &name), "sovs_map_place"));
    conv.place.input = SOVS_MAP_FREE;
    conv.place.alone = 1;
    CHECK(refused(sovs_conv2d_backend(conv.weights, &conv.params, &conv.place, &name), "caller's maps"));
    conv.place.alone = 0;
    conv.params.activation = 9;
    CHECK(refused(sovs_conv2d_backend(conv.weights, &conv.params, &conv.place, &name), "activation"));
    conv.params.activation = SOVS_NONE;
    conv.place.h = 0;
    CHECK(refused(sovs_conv2d_candidates(conv.weights, &conv.params, &conv.place, &tuning, &room), "at least 1"));
}
