// Structs of callers that are older or newer than the library, by the size that they begin with.
#include <array>
#include <string>
#include <vector>

#include "plan_file.h"
#include "problem.h"

namespace {

// What a struct may look like in a later version.
template <typename Struct>
struct Later {
    Struct known;
    std::int64_t fresh[2] = {0, 0};

    explicit Later(const Struct& filled) : known(filled) { known.size = sizeof(Later); }
};

// All that the calls below point to.
struct Given {
    Problem p;
    Data data{p};
    sovs_weights* weights = data.weights(p);
    std::vector<float> y = std::vector<float>(p.n * p.out_channels * p.out_h() * p.out_w());
    sovs_plan* plan = plan_of(p, weights);
    sovs_conv2d_params params = p.params();
    sovs_conv2d_place place{sizeof place, p.n, p.h, p.w, SOVS_MAP_FREE, SOVS_MAP_FREE, 0, 0, SOVS_F32};
    std::vector<std::int64_t> shape{2, 2};
    std::vector<float> numbers = std::vector<float>(64);

    Given() = default;
    Given(const Given&) = delete;
    ~Given() {
        sovs_plan_destroy(plan);
        sovs_weights_destroy(weights);
    }
};

// Calls visit(struct, call) for every struct that functions take, where call(pointer) is one that succeeds.
template <typename Visit>
void each_struct(Given& g, Visit&& visit) {
    visit(sovs_weights_desc{sizeof(sovs_weights_desc), 8, 8, 1, 1, 1, 0, nullptr, nullptr, 0, g.numbers.data(),
                            SOVS_F32, nullptr, nullptr},
          [&](const sovs_weights_desc* desc) {
              sovs_weights* made = nullptr;
              const sovs_status status = sovs_weights_create(desc, &made);
              sovs_weights_destroy(made);
              return status;
          });
    Records conv;
    conv.inputs.push_back(map_of(g.p.n, g.p.in_channels, g.p.h, g.p.w));
    conv.use("conv", g.weights);
    conv.step("conv2d", "conv", {"in0"}, plain_conv());
    conv.output("conv");
    visit(conv.weights[0], [&](const sovs_named_weights* named) {
        sovs_program* made = nullptr;
        const sovs_status status = sovs_program_create(conv.header().c_str(), named, 1, nullptr, 0, &made);
        sovs_program_destroy(made);
        return status;
    });
    visit(conv.inputs[0], [&](const sovs_map* map) {
        sovs_program* program = nullptr;
        sovs_plan* made = nullptr;
        CHECK(conv.program(&program) == SOVS_OK);
        const sovs_status status = sovs_plan_create(program, map, 1, conv.layouts.data(), 1, 1, &made);
        sovs_program_destroy(program);
        sovs_plan_destroy(made);
        return status;
    });
    Records norm;
    norm.inputs.push_back(map_of(1, 64, 1, 1));
    norm.tensor("norm.gamma", g.numbers, {64});
    norm.step("layer_norm", "norm", {"in0"}, ", \"eps\": 1e-5");
    norm.output("norm");
    visit(norm.tensors[0], [&](const sovs_named_tensor* named) {
        sovs_program* made = nullptr;
        const sovs_status status = sovs_program_create(norm.header().c_str(), nullptr, 0, named, 1, &made);
        sovs_program_destroy(made);
        return status;
    });
    const sovs_buffer input = buffer_of(g.data.x), output = buffer_of(g.y);
    visit(input, [&](const sovs_buffer* buffer) { return sovs_plan_run(g.plan, buffer, 1, &output, 1, 1); });
    visit(output, [&](const sovs_buffer* buffer) { return sovs_plan_run(g.plan, &input, 1, buffer, 1, 1); });
    sovs_tuning found = kLibraryChooses;
    std::int32_t room = 1;
    double seconds = 0.0;
    visit(g.params, [&](const sovs_conv2d_params* params) {
        return sovs_conv2d_candidates(g.weights, params, &g.place, &found, &(room = 1));
    });
    visit(g.place, [&](const sovs_conv2d_place* place) {
        return sovs_conv2d_candidates(g.weights, &g.params, place, &found, &(room = 1));
    });
    visit(kLibraryChooses, [&](const sovs_tuning* tuning) {
        return sovs_conv2d_time(g.weights, &g.params, &g.place, tuning, 1, 1, &seconds);
    });
    visit(kLibraryChooses, [&](const sovs_tuning* tuning) {
        sovs_weight_gradient* made = nullptr;
        const sovs_status status =
            sovs_weight_gradient_create(g.weights, &g.params, tuning, 1, 8, 8, SOVS_NCHW, 1, &made);
        sovs_weight_gradient_destroy(made);
        return status;
    });
    std::int64_t label = 0;
    visit(sovs_mask_window{sizeof(sovs_mask_window), 0, 0, 2, 2, 1, 1, 1, g.numbers.data(), g.numbers.data()},
          [&](const sovs_mask_window* window) {
              return sovs_decide_masks(window, 1, 1, 2, 2, 0, 1, 1, &label, nullptr, nullptr, 1);
          });
    const sovs_deformable_params around{sizeof around, 1, 1, 1, 1, 1, 1, g.shape.data()};
    float* const some = g.numbers.data();
    std::vector<float> out(1);
    visit(around, [&](const sovs_deformable_params* params) {
        return sovs_deformable_attention(params, some, some, some, out.data(), 1);
    });
    visit(around, [&](const sovs_deformable_params* params) {
        return sovs_deformable_attention_around(params, some, 1, some, some, some, out.data(), 1);
    });
}

}  // namespace

TEST(a_struct_without_its_size_or_smaller_than_its_first_version_is_refused) {
    Given given;
    int visited = 0;
    each_struct(given, [&](auto whole, auto&& call) {
        CHECK_SAYING(call(&whole) == SOVS_OK, sovs_last_error());
        for (const std::size_t size : {std::size_t{0}, sizeof(std::size_t), sizeof whole - 1}) {
            whole.size = size;
            CHECK(refused(call(&whole), "a struct that begins with its size, of " + std::to_string(sizeof whole) +
                                            " bytes or more, got " + std::to_string(size)));
        }
        ++visited;
    });
    CHECK(visited == 13);
}

TEST(a_larger_struct_is_taken_where_zeros_follow_what_is_known) {
    Given given;
    each_struct(given, [](auto whole, auto&& call) {
        const Later later(whole);
        CHECK_SAYING(call(&later.known) == SOVS_OK, sovs_last_error());
    });
}

TEST(a_larger_struct_that_says_more_than_is_known_is_refused) {
    Given given;
    each_struct(given, [](auto whole, auto&& call) {
        Later later(whole);
        later.fresh[1] = std::int64_t{1} << 56;  // its last byte
        CHECK(refused(call(&later.known), "members that this library does not know: update it"));
    });
}

TEST(a_larger_struct_computes_what_one_of_today_does) {
    Given g;
    const Later input(buffer_of(g.data.x)), output(buffer_of(g.y));
    CHECK(sovs_plan_run(g.plan, &input.known, 1, &output.known, 1, 1) == SOVS_OK);
    CHECK(g.y == run(g.p, g.data));
}

TEST(arrays_of_larger_structs_are_walked_by_their_size) {
    Problem p;
    p.residual = true;
    const Data data(p);
    sovs_weights* weights = data.weights(p);
    const Later<sovs_named_weights> named[] = {Later(sovs_named_weights{0, "other", weights}),
                                               Later(sovs_named_weights{0, "conv", weights})};
    Records records;
    records.inputs = {map_of(1, 8, 8, 8), map_of(1, 8, 8, 8)};
    records.step("conv2d", "conv", {"in0", "in1"}, plain_conv());
    records.step("layer_norm", "norm", {"conv"}, ", \"eps\": 1e-5");
    records.output("norm");
    records.output("conv");
    const std::vector<float> gamma(8, 2.0f), beta(8, 1.0f);
    records.tensor("norm.gamma", gamma, {8});
    records.tensor("norm.beta", beta, {8});
    const Later<sovs_named_tensor> tensors[] = {Later(records.tensors[0]), Later(records.tensors[1])};
    sovs_program* program = nullptr;
    CHECK_SAYING(
        sovs_program_create(records.header().c_str(), &named[0].known, 2, &tensors[0].known, 2, &program) == SOVS_OK,
        sovs_last_error());
    const Later<sovs_map> maps[] = {Later(records.inputs[0]), Later(records.inputs[1])};
    sovs_plan* plan = nullptr;
    CHECK_SAYING(sovs_plan_create(program, &maps[0].known, 2, records.layouts.data(), 2, 1, &plan) == SOVS_OK,
                 sovs_last_error());
    std::vector<float> y(8 * 64), normal(8 * 64);
    const Later<sovs_buffer> inputs[] = {Later(buffer_of(data.x)), Later(buffer_of(data.residual))};
    const Later<sovs_buffer> outputs[] = {Later(buffer_of(normal)), Later(buffer_of(y))};
    CHECK_SAYING(sovs_plan_run(plan, &inputs[0].known, 2, &outputs[0].known, 2, 1) == SOVS_OK, sovs_last_error());
    CHECK(y == run(p, data));
    double sum = 0.0;
    for (const float v : normal) sum += v;
    CHECK(std::fabs(sum / (8 * 64) - 1.0) < 1e-5);  // beta: the norm itself has no mean
    sovs_plan_destroy(plan);
    sovs_program_destroy(program);
    sovs_weights_destroy(weights);
}

TEST(arrays_of_larger_structs_are_filled_by_their_size) {
    sovs_encoder* encoder = load(PlanFile(1).bytes());
    std::array<Later<sovs_map>, 2> maps{Later(map_of(0, 0, 0, 0)), Later(map_of(0, 0, 0, 0))};
    CHECK(sovs_encoder_outputs(encoder, 3, 8, 6, &maps[0].known) == SOVS_OK);
    CHECK(maps[0].known.size == sizeof maps[0] && maps[1].known.size == sizeof maps[1]);
    CHECK(maps[0].known.n == 3 && maps[0].known.h == 8 && maps[0].known.w == 6);
    CHECK(maps[1].known.n == 3 && maps[1].known.h == 4 && maps[1].known.w == 3);
    sovs_encoder_destroy(encoder);

    Problem p;
    p.in_channels = 256;  // panels of several depths
    p.h = p.w = 40;
    sovs_weights* weights = Data(p).weights(p);
    const sovs_conv2d_params params = p.params();
    const sovs_conv2d_place place{sizeof place, 1, p.h, p.w, SOVS_MAP_FREE, SOVS_MAP_FREE, 0, 0, SOVS_F32};
    constexpr std::int32_t kRoom = 3;
    std::array<Later<sovs_tuning>, kRoom> later{Later(kLibraryChooses), Later(kLibraryChooses), Later(kLibraryChooses)};
    std::array<sovs_tuning, kRoom> known{kLibraryChooses, kLibraryChooses, kLibraryChooses};
    std::int32_t room = kRoom, same_room = kRoom;
    CHECK(sovs_conv2d_candidates(weights, &params, &place, &later[0].known, &room) == SOVS_OK);
    CHECK(sovs_conv2d_candidates(weights, &params, &place, known.data(), &same_room) == SOVS_OK);
    CHECK(room == same_room && room > 1);
    for (std::int32_t i = 0; i < room; ++i) {
        CHECK(later[i].known.size == sizeof later[i]);
        CHECK(later[i].known.tile_cols == known[i].tile_cols && later[i].known.k_tile == known[i].k_tile);
    }
    std::vector<double> seconds(room, -1.0);
    CHECK(sovs_conv2d_time(weights, &params, &place, &later[0].known, room, 1, seconds.data()) == SOVS_OK);
    for (const double s : seconds) CHECK(s > 0.0);
    sovs_weights_destroy(weights);
}

TEST(an_array_with_room_for_no_whole_struct_is_refused) {
    Given g;
    sovs_tuning small = kLibraryChooses;
    small.size = sizeof small - 8;
    std::int32_t room = 1;
    CHECK(refused(sovs_conv2d_candidates(g.weights, &g.params, &g.place, &small, &room), "begins with its size"));
    sovs_step_info info{};
    CHECK(refused(sovs_plan_step_info(g.plan, 0, &info), "begins with its size"));
}

TEST(a_larger_step_info_keeps_its_size_and_is_filled) {
    Given g;
    sovs_step_info today{};
    today.size = sizeof today;
    Later later(today);
    CHECK(sovs_plan_step_info(g.plan, 0, &today) == SOVS_OK);
    CHECK(sovs_plan_step_info(g.plan, 0, &later.known) == SOVS_OK);
    CHECK(later.known.size == sizeof later && today.size == sizeof today);
    CHECK(later.known.backend == today.backend && later.known.c == 8 && later.known.h == 8);
    CHECK(later.known.density == today.density && later.known.tile_cols == today.tile_cols);
    CHECK(today.tile_cols > 0);
}
