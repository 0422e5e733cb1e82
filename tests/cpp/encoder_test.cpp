// Plan files: an encoder runs as its steps say, and nothing in a file, however damaged, does more than fail to load.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <tuple>

#include "plan_file.h"

namespace {

constexpr int kVersions[] = {1, 2};

}  // namespace

TEST(an_encoder_computes_what_its_steps_say) {
    for (const int version : kVersions) {
        sovs_encoder* encoder = load(PlanFile(version).bytes());
        CHECK(encoder != nullptr);
        CHECK(sovs_encoder_input_channels(encoder) == 2 && sovs_encoder_output_count(encoder) == version + 1);
        CHECK(std::strstr(sovs_encoder_header(encoder), "\"op\": \"avg_pool2x2\"") != nullptr);
        const std::vector<sovs_map> maps = outputs_of(encoder, 3, 5, 7);
        CHECK(maps[0].n == 3 && maps[0].c == 4 && maps[0].h == 5 && maps[0].w == 7);
        CHECK(maps[1].n == 3 && maps[1].c == 4 && maps[1].h == 2 && maps[1].w == 3);
        CHECK(version == 1 || (maps[2].n == 3 && maps[2].c == 2 && maps[2].h == 1 && maps[2].w == 1));
        for (const sovs_map& map : maps) CHECK(map.layout == SOVS_NCHW && map.dtype == SOVS_F32 && map.scale == 0.0f);
        std::vector<float> got = run(encoder, 1, 2, 2, 1);
        // All stem weights are 0.25 and the padding reaches every pixel: a quarter of the input's sum, -7, each.
        std::vector<float> expected(16, 0.0f);
        for (const float bias : {1.0f, 0.0f, 1.0f, 0.0f}) expected.push_back(bias);
        if (version > 1) {
            // Attention to one pixel gives its values: channels 2 and 3 of the norm of (1, 0, 1, 0). Tokens add 0.5.
            const float one = 0.5f / std::sqrt(0.25f + 1e-5f);
            const float crop[] = {2 * one + 0.5f, 3 - 2 * one + 0.5f};
            CHECK(std::fabs(got[20] - crop[0]) < 1e-6f && std::fabs(got[21] - crop[1]) < 1e-6f);
            got.resize(20);
        }
        CHECK(got == expected);
        sovs_encoder_destroy(encoder);
    }
}

TEST(both_versions_of_a_file_give_the_same_bits) {
    sovs_encoder *first = load(PlanFile(1).bytes()), *second = load(PlanFile(2).bytes());
    const std::vector<float> expected = run(first, 2, 9, 8, 2);
    std::vector<float> got = run(second, 2, 9, 8, 2);
    CHECK(got.size() > expected.size());
    got.resize(expected.size());
    CHECK(!expected.empty() && got == expected);
    sovs_encoder_destroy(first);
    sovs_encoder_destroy(second);
}

TEST(many_threads_run_one_encoder_at_many_sizes) {
    for (const int version : kVersions) {
        sovs_encoder* encoder = load(PlanFile(version).bytes());
        std::vector<std::vector<float>> expected;
        for (int size = 2; size < 22; ++size) expected.push_back(run(encoder, 1, size, 9, 1));
        for (const std::vector<float>& outputs : expected) CHECK(!outputs.empty());
        std::vector<std::thread> callers;
        std::vector<int> wrong(8, 0);
        for (int t = 0; t < 8; ++t)
            callers.emplace_back([&, t] {
                for (int i = 0; i < 60; ++i) {
                    const int which = (i * 7 + t) % 20;
                    if (run(encoder, 1, which + 2, 9, 1 + t % 3) != expected[which]) ++wrong[t];
                }
            });
        for (std::thread& caller : callers) caller.join();
        for (const int count : wrong) CHECK(count == 0);
        sovs_encoder_destroy(encoder);
    }
}

TEST(a_plan_that_was_taken_outlives_its_encoder_and_tells_its_steps) {
    sovs_encoder* encoder = load(PlanFile(1).bytes());
    sovs_plan* plan = nullptr;
    CHECK(sovs_encoder_plan(encoder, 1, 8, 6, 2, &plan) == SOVS_OK);
    sovs_encoder_destroy(encoder);
    std::vector<int> times_seen(4, 0);
    sovs_step_info info{};
    info.size = sizeof info;
    for (int i = 0; i < sovs_plan_step_count(plan); ++i) {
        CHECK(sovs_plan_step_info(plan, i, &info) == SOVS_OK);
        CHECK(info.n == 1 && info.c == 4 && info.strip_group == -1);
        if (std::strcmp(info.backend, "copy") == 0) continue;
        ++times_seen.at(info.record);
        if (info.record == 2)
            CHECK(info.density == 3.0 / 16 && info.tile_cols > 0 && std::strstr(info.backend, "rows1"));
        if (info.record == 3)
            CHECK(info.density == 0.5 && info.h == 4 && info.w == 3 && std::strstr(info.backend, "rows4"));
    }
    CHECK(times_seen == std::vector<int>(4, 1));
    CHECK(sovs_plan_step_info(plan, sovs_plan_step_count(plan), &info) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_plan_step_info(plan, -1, &info) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_plan_arena_bytes(plan) > 0);
    const std::vector<float> input(2 * 8 * 6), stem(4 * 8 * 6), b(4 * 4 * 3);
    CHECK(run_plan(plan, {buffer_of(input)}, {buffer_of(stem), buffer_of(b)}, 2) == SOVS_OK);
    sovs_plan_destroy(plan);
}

TEST(sizes_that_no_encoder_can_run_are_refused) {
    sovs_encoder* encoder = load(PlanFile(1).bytes());
    const std::int64_t absurd = std::int64_t{1} << 62;
    for (const auto& [n, h, w] : {std::tuple<std::int64_t, std::int64_t, std::int64_t>{0, 8, 8},
                                  {1, -1, 8},
                                  {absurd, 8, 8},
                                  {1, absurd, absurd},
                                  {1 << 20, 1 << 20, 1 << 20},
                                  {1, 1, 8}}) {
        sovs_map maps[2] = {map_of(0, 0, 0, 0), map_of(0, 0, 0, 0)};
        CHECK(sovs_encoder_outputs(encoder, n, h, w, maps) == SOVS_INVALID_ARGUMENT);
        sovs_plan* plan = nullptr;
        CHECK(sovs_encoder_plan(encoder, n, h, w, 1, &plan) == SOVS_INVALID_ARGUMENT);
    }
    const std::vector<float> input(2 * 64), stem(4 * 64), b(4 * 16);
    const sovs_buffer given = buffer_of(input), outputs[2] = {buffer_of(stem), buffer_of(b)};
    CHECK(sovs_encoder_run(encoder, &given, 1, 8, 8, outputs, 2, 1) == SOVS_OK);
    CHECK(refused(sovs_encoder_run(encoder, &given, 1, 8, 8, outputs, 2, 0), "at least 1 thread"));
    CHECK(refused(sovs_encoder_run(encoder, &given, 1, 8, 8, outputs, 1, 1), "2 buffers, got 1"));
    CHECK(refused(sovs_encoder_run(encoder, &given, 1, 8, 9, outputs, 2, 1), "576 bytes of f32, got 512"));
    CHECK(refused(sovs_encoder_run(encoder, nullptr, 1, 8, 8, outputs, 2, 1), "NULL"));
    CHECK(refused(sovs_encoder_run(nullptr, &given, 1, 8, 8, outputs, 2, 1), "NULL"));
    sovs_encoder_destroy(encoder);
    sovs_encoder_destroy(nullptr);
}

TEST(a_program_of_one_size_refuses_others) {
    PlanFile file(2);
    file.more = R"(, "input_size": [8, 6])";
    sovs_encoder* encoder = load(file.bytes());
    CHECK(encoder != nullptr);
    CHECK(!run(encoder, 1, 8, 6, 1).empty() && !run(encoder, 2, 8, 6, 2).empty());
    for (const auto& [h, w] : {std::tuple<std::int64_t, std::int64_t>{6, 8}, {8, 7}, {16, 12}}) {
        std::vector<sovs_map> maps(3, map_of(0, 0, 0, 0));
        const std::string said =
            "an input of 8x6 pixels, which the program is for, got " + std::to_string(h) + "x" + std::to_string(w);
        CHECK(refused(sovs_encoder_outputs(encoder, 1, h, w, maps.data()), said));
        sovs_plan* plan = nullptr;
        CHECK(refused(sovs_encoder_plan(encoder, 1, h, w, 1, &plan), said));
        const sovs_buffer buffer{sizeof buffer, maps.data(), 1 << 20, SOVS_F32};
        CHECK(refused(sovs_encoder_run(encoder, &buffer, 1, h, w, &buffer, 1, 1), said));
    }
    sovs_encoder_destroy(encoder);
    file.more = R"(, "input_size": null)";
    encoder = load(file.bytes());
    CHECK(!run(encoder, 1, 8, 6, 1).empty() && !run(encoder, 1, 9, 9, 1).empty());
    sovs_encoder_destroy(encoder);
    for (const char* size : {"[8]", "[8, 6, 1]", "[0, 6]", "[8, 2147483648]", "[8, -6]"}) {
        file.more = std::string(R"(, "input_size": )") + size;
        CHECK(refused(file.bytes(), "input_size"));
    }
    file.more = R"(, "input_size": 8)";
    CHECK(refused(file.bytes(), "a list"));
}

TEST(an_encoder_tells_the_types_of_its_maps_and_does_not_run_what_has_no_kernel) {
    PlanFile file(2);
    file.steps =
        with(file.steps, R"("name": "b")", R"("name": "b", "dtype": "u8", "quant": {"scale": 0.5, "zero_point": 3})");
    sovs_encoder* encoder = load(file.bytes());
    CHECK(encoder != nullptr);
    const std::vector<sovs_map> maps = outputs_of(encoder, 1, 8, 6);
    CHECK(maps[1].dtype == SOVS_U8 && maps[1].scale == 0.5f && maps[1].zero_point == 3);
    CHECK(maps[0].dtype == SOVS_F32 && maps[0].scale == 0.0f);
    sovs_plan* plan = nullptr;
    CHECK(refused(sovs_encoder_plan(encoder, 1, 8, 6, 1, &plan), "a kernel of conv2d for, got f32 f32 -> u8"));
    sovs_encoder_destroy(encoder);
}

TEST(files_of_others_and_newer_ones_are_refused_by_name) {
    sovs_encoder* encoder = nullptr;
    CHECK(refused(sovs_encoder_load("/nowhere/x.plan", &encoder), "got none at /nowhere/x.plan"));
    CHECK(sovs_encoder_load("/", &encoder) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_encoder_load(nullptr, &encoder) == SOVS_INVALID_ARGUMENT);
    CHECK(refused("", "whole safetensors file"));
    CHECK(refused("PK and other bytes of a zip file", "whole safetensors file"));
    PlanFile file(2);
    CHECK(refused(file.bytes(with(file.header(), "sparse_ovs", "another_ovs")), "written by sparse_ovs"));
    file.version = "3";
    CHECK(refused(file.bytes(), "format version 2 or older, got 3: update"));
    file.version = "0";
    CHECK(refused(file.bytes(), "format version of at least 1"));
    for (const int version : kVersions) {
        file = PlanFile(version);
        file.kind = "model";
        CHECK(refused(file.bytes(), "expected a plan"));
    }
}

TEST(a_file_whose_program_has_two_inputs_is_refused) {
    const PlanFile file(2);
    const std::string both = R"({\"name\": \"y\", \"channels\": 1}, {\"name\": \"x\")";
    CHECK(refused(file.bytes(with(file.header(), R"({\"name\": \"x\")", both)), "a program of one input"));
}

TEST(programs_that_do_not_hold_together_are_refused) {
    for (const int version : kVersions) {
        const PlanFile whole(version);
        const auto steps = [&](const std::string& old, const std::string& fresh) {
            PlanFile file = whole;
            file.steps = with(file.steps, old, fresh);
            return file.bytes();
        };
        CHECK(refused(steps("avg_pool2x2", "softmax"), "an op that this version knows, got softmax"));
        CHECK(refused(steps(whole.read("stem"), whole.read("b")), "got b in pool"));
        CHECK(refused(steps("\"name\": \"pool\"", "\"name\": \"stem\""), "stem twice"));
        CHECK(
            refused(steps(whole.read("pool", "a"), whole.read("pool", "x")), "a residual with 4 channels, got 2 in b"));
        CHECK(refused(steps("[1, 1]", "[1, 0]"), "stride from 1"));
        CHECK(refused(steps("[1, 1]", "[1, 9223372036854775807]"), "stride from 1"));
        CHECK(refused(steps("[1, 1]", "[1, 9223372036854775808]"), "64 bits"));
        CHECK(refused(steps("[1, 1]", "[1]"), "two numbers as stride"));
        CHECK(refused(steps("[1, 1]", "[1, 1.5]"), "an integer"));
        CHECK(refused(steps("[4, 2, 3, 3]", "[4, 2, 3, 4]"), "another shape of stem.weight"));
        CHECK(refused(steps("[4, 2, 3, 3]", "[4, 2, 9]"), "four dimensions in stem ("));
        CHECK(refused(steps("[4, 4, 1, 1]", "[4, 2147483647, 2147483647, 1]"), "2**31"));
        CHECK(refused(steps("\"groups\": 1", "\"groups\": 3"), "groups"));
        CHECK(refused(steps("\"block_rows\": 4", "\"block_rows\": 8"), "block_rows of 1 or 4 in b ("));
        CHECK(refused(steps("\"block_rows\": 4", "\"block_rows\": 1"), "another shape of b.row_ptr"));
        CHECK(refused(steps("relu", "tanh"), "an activation that this version knows, got tanh"));
        CHECK(refused(steps("\"groups\": 1, ", ""), "\"groups\""));
        PlanFile file = whole;
        file.channels = "3";
        CHECK(refused(file.bytes(), "stem"));
        file = whole;
        file.outputs = R"(["stem", "stem"])";
        CHECK(refused(file.bytes(), "every output once"));
        file.outputs = R"(["x"])";
        CHECK(refused(file.bytes(), "got the input"));
        file.outputs = "[]";
        CHECK(refused(file.bytes(), "at least one output"));
    }
}

TEST(tensors_that_lie_are_refused) {
    for (const int version : kVersions) {
        const PlanFile file(version);
        const auto header = [&](const std::string& old, const std::string& fresh) {
            return file.bytes(with(file.header(), old, fresh));
        };
        CHECK(refused(header("\"shape\": [3, 1]", "\"shape\": [4, 1]"), "size of a.values"));
        CHECK(refused(header("\"shape\": [3, 1]", "\"shape\": [4611686018427387904, 4]"), "shape of a.values"));
        CHECK(refused(header("\"shape\": [3, 1]", "\"shape\": [-3, -1]"), "shape of a.values"));
        CHECK(refused(header("\"data_offsets\": [0, 12]", "\"data_offsets\": [12, 0]"), "offsets of a.values"));
        CHECK(refused(header("\"data_offsets\": [0, 12]", "\"data_offsets\": [4, 16]"), "overlap"));
        CHECK(refused(header("\"data_offsets\": [0, 12]", "\"data_offsets\": [0, 9223372036854775807]"), "cut"));
        CHECK(refused(header("\"dtype\": \"F32\"", "\"dtype\": \"F31\""), "unknown type of a.values"));
        CHECK(refused(header("\"dtype\": \"F32\"", "\"dtype\": \"I32\""), "a.values of type F32, got I32"));
        CHECK(refused(header("\"a.values\"", "\"c.values\""), "a tensor a.values"));
        CHECK(refused(file.bytes() + "more", "belong to no tensor"));
        PlanFile other = file;
        std::int32_t row_ptr[5] = {0, 1, 1, 2, 1 << 30};
        std::memcpy(&other.data[12 + 32 + 16 + 288], row_ptr, sizeof row_ptr);
        CHECK(refused(other.bytes(), "shape of a.values"));
        row_ptr[4] = 3;
        row_ptr[1] = 1 << 30;
        std::memcpy(&other.data[12 + 32 + 16 + 288], row_ptr, sizeof row_ptr);
        CHECK(refused(other.bytes(), "never to fall"));
    }
    const PlanFile file(2);
    const auto header = [&](const std::string& old, const std::string& fresh) {
        return file.bytes(with(file.header(), old, fresh));
    };
    CHECK(refused(header("\"norm.gamma\": {\"dtype\": \"F32\", \"shape\": [4]",
                         "\"norm.gamma\": {\"dtype\": \"F32\", \"shape\": [2, 2]"),
                  "one dimension of norm.gamma"));
    CHECK(refused(header("[41, 2]", "[2, 41]"), "constants for each token in words"));
    CHECK(refused(header("[41, 2]", "[82]"), "two dimensions of words.constants"));
    CHECK(refused(header("\"words.constants\"", "\"words.constant\""), "a tensor words.constants"));
}

TEST(json_that_is_none_is_refused) {
    const PlanFile file(2);
    for (const char* text :
         {"", "{", "[1, 2", "{\"a\" 1}", "{\"a\": 1,}", "{\"a\": 1, \"a\": 2}", "{\"a\": tru}", "{\"a\": 01}",
          "{\"a\": 1.}", "{\"a\": 1e}", "{\"a\": -}", "{\"a\": \"\\x\"}", "{\"a\": \"\\ud800\"}",
          "{\"a\": \"\\udc00\"}", "{\"a\": \"\\u12\"}", "{\"a\": \"\n\"}", "{} {}", "{\"a\": 1e999}", "{\"a"})
        CHECK_SAYING(refused(file.bytes(text), "expected JSON with"), text);
    CHECK(refused(file.bytes(std::string(100'000, '[')), "less nesting"));
    CHECK(refused(file.bytes("[]"), "an object"));
    CHECK(refused(file.bytes(R"({"\u00e9\ud83d\ude00": {"dtype": 1}})"), "a string"));
    std::string bytes = file.bytes();
    bytes.replace(0, 8, 8, '\xff');
    CHECK(refused(bytes, "whole header"));
}

TEST(files_cut_anywhere_are_refused) {
    for (const int version : kVersions) {
        const std::string bytes = PlanFile(version).bytes();
        for (std::size_t length = 0; length < bytes.size(); length += 64)
            CHECK(refused(bytes.substr(0, length), "expected"));
        CHECK(refused(bytes.substr(0, bytes.size() - 1), "cut"));
    }
}

TEST(no_flipped_bit_does_more_than_fail) {
    for (const int version : kVersions) {
        const std::string bytes = PlanFile(version).bytes();
        for (std::size_t i = 0; i < bytes.size(); ++i)
            for (int bit = static_cast<int>(i % 2); bit < 8; bit += 2) {
                std::string damaged = bytes;
                damaged[i] = static_cast<char>(damaged[i] ^ 1 << bit);
                try_out(damaged);
            }
    }
}
