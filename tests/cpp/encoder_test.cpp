// Plan files: an encoder runs as its steps say, and nothing in a file, however damaged, does more than fail to load.
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "problem.h"

namespace {

// A program of every kind of step: a dense 3x3 convolution, a mean, a sparse 1x1 with a residual from another.
const char* const kSteps = R"([
 {"op": "conv2d", "name": "stem", "input": "x", "residual": null, "stride": [1, 1], "padding": [1, 1],
  "dilation": [1, 1], "groups": 1, "activation": "relu", "weight": {"shape": [4, 2, 3, 3]}},
 {"op": "avg_pool2x2", "name": "pool", "input": "stem"},
 {"op": "conv2d", "name": "a", "input": "pool", "residual": null, "stride": [1, 1], "padding": [0, 0],
  "dilation": [1, 1], "groups": 1, "activation": null, "weight": {"shape": [4, 4, 1, 1], "block_rows": 1}},
 {"op": "conv2d", "name": "b", "input": "pool", "residual": "a", "stride": [1, 1], "padding": [0, 0],
  "dilation": [1, 1], "groups": 1, "activation": "relu", "weight": {"shape": [4, 4, 1, 1], "block_rows": 4}}])";

struct File {
    std::string version = "1", kind = "plan", steps = kSteps, outputs = R"(["stem", "b"])", channels = "2";
    std::string tensors;  // members of the header
    std::string data;

    File() {
        add("a.values", "F32", "[3, 1]", std::vector<float>{1, 2, 3});
        add("b.values", "F32", "[2, 4]", std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8});
        add("b.bias", "F32", "[4]", std::vector<float>{1, -1, 1, -1});
        add("stem.weight", "F32", "[4, 2, 3, 3]", std::vector<float>(72, 0.25f));
        add("a.row_ptr", "I32", "[5]", std::vector<std::int32_t>{0, 1, 1, 2, 3});
        add("b.row_ptr", "I32", "[2]", std::vector<std::int32_t>{0, 2});
        add("b.indices", "I32", "[2]", std::vector<std::int32_t>{0, 3});
        add("a.indices", "U16", "[3]", std::vector<std::uint16_t>{1, 0, 3});
    }

    template <typename T>
    void add(const std::string& name, const std::string& dtype, const std::string& shape, const std::vector<T>& numbers) {
        const std::size_t begin = data.size();
        data.append(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T));
        tensors += ", \"" + name + "\": {\"dtype\": \"" + dtype + "\", \"shape\": " + shape + ", \"data_offsets\": [" +
                   std::to_string(begin) + ", " + std::to_string(data.size()) + "]}";
    }

    std::string inner() const {
        return R"({"format_version": )" + version + R"(, "kind": ")" + kind + R"(", "input": "x", "input_channels": )" +
               channels + R"(, "steps": )" + steps + R"(, "outputs": )" + outputs + "}";
    }
    std::string header() const {
        std::string quoted;
        for (const char c : inner()) {
            if (c == '"') quoted += '\\';
            quoted += c == '\n' ? ' ' : c;
        }
        return R"({"__metadata__": {"sparse_ovs": ")" + quoted + "\"}" + tensors + "}";
    }
    std::string bytes() const { return bytes(header()); }
    std::string bytes(const std::string& header) const {
        std::string made(8, '\0');
        for (int i = 0; i < 8; ++i) made[i] = static_cast<char>(header.size() >> (8 * i));
        return made + header + data;
    }
};

std::string place() {
    return (std::filesystem::temp_directory_path() / ("sparse_ovs_test_" + std::to_string(getpid()) + ".plan")).string();
}

// The encoder in these bytes; null where they are refused.
sovs_encoder* load(const std::string& bytes) {
    const std::string path = place();
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    sovs_encoder* encoder = nullptr;
    const sovs_status status = sovs_encoder_load(path.c_str(), &encoder);
    CHECK((status == SOVS_OK) == (encoder != nullptr));
    CHECK(status != SOVS_INTERNAL_ERROR);
    std::filesystem::remove(path);
    return encoder;
}

bool refused(const std::string& bytes, const char* word) {
    sovs_encoder* encoder = load(bytes);
    const bool ok = encoder == nullptr && std::strstr(sovs_last_error(), word) != nullptr;
    if (!ok) std::printf("expected '%s', got '%s'\n", word, encoder == nullptr ? sovs_last_error() : "success");
    sovs_encoder_destroy(encoder);
    return ok;
}

// Outputs of every size asked for, one after the other; empty where the encoder refuses.
std::vector<float> run(const sovs_encoder* encoder, std::int64_t n, std::int64_t h, std::int64_t w, int threads) {
    std::vector<sovs_shape> shapes(sovs_encoder_output_count(encoder));
    if (sovs_encoder_outputs(encoder, n, h, w, shapes.data()) != SOVS_OK) return {};
    std::vector<float> input(n * sovs_encoder_input_channels(encoder) * h * w);
    for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>(i % 7) - 3.0f;
    std::vector<std::vector<float>> maps;
    std::vector<float*> outputs;
    for (const sovs_shape& s : shapes) maps.emplace_back(s.n * s.c * s.h * s.w);
    for (auto& map : maps) outputs.push_back(map.data());
    if (sovs_encoder_run(encoder, input.data(), n, h, w, outputs.data(), threads) != SOVS_OK) return {};
    std::vector<float> all;
    for (const auto& map : maps) all.insert(all.end(), map.begin(), map.end());
    return all;
}

// Damaged files that happen to be whole must run too.
void try_out(const std::string& bytes) {
    sovs_encoder* encoder = load(bytes);
    if (encoder != nullptr) run(encoder, 1, 8, 6, 1);
    sovs_encoder_destroy(encoder);
}

std::string with(std::string text, const std::string& old, const std::string& fresh) {
    return text.replace(text.find(old), old.size(), fresh);
}

}  // namespace

TEST(an_encoder_computes_what_its_steps_say) {
    sovs_encoder* encoder = load(File().bytes());
    CHECK(encoder != nullptr);
    CHECK(sovs_encoder_input_channels(encoder) == 2 && sovs_encoder_output_count(encoder) == 2);
    CHECK(std::strstr(sovs_encoder_header(encoder), "\"op\": \"avg_pool2x2\"") != nullptr);
    sovs_shape shapes[2];
    CHECK(sovs_encoder_outputs(encoder, 3, 5, 7, shapes) == SOVS_OK);
    CHECK(shapes[0].n == 3 && shapes[0].c == 4 && shapes[0].h == 5 && shapes[0].w == 7);
    CHECK(shapes[1].n == 3 && shapes[1].c == 4 && shapes[1].h == 2 && shapes[1].w == 3);
    const std::vector<float> got = run(encoder, 1, 2, 2, 1);
    // All stem weights are 0.25 and the padding reaches every pixel: each output is a quarter of the input's sum, -7.
    std::vector<float> expected(16, 0.0f);
    for (const float bias : {1.0f, 0.0f, 1.0f, 0.0f}) expected.push_back(bias);
    CHECK(got == expected);
    sovs_encoder_destroy(encoder);
}

TEST(many_threads_run_one_encoder_at_many_sizes) {
    sovs_encoder* encoder = load(File().bytes());
    std::vector<std::vector<float>> expected;
    for (int size = 2; size < 22; ++size) expected.push_back(run(encoder, 1, size, 9, 1));
    std::vector<std::thread> callers;
    std::vector<int> wrong(8, 0);
    for (int t = 0; t < 8; ++t)
        callers.emplace_back([&, t] {
            for (int i = 0; i < 60; ++i)
                if (const int which = (i * 7 + t) % 20; run(encoder, 1, which + 2, 9, 1 + t % 3) != expected[which]) ++wrong[t];
        });
    for (std::thread& caller : callers) caller.join();
    for (const int count : wrong) CHECK(count == 0);
    sovs_encoder_destroy(encoder);
}

TEST(a_plan_that_was_taken_outlives_its_encoder_and_tells_its_steps) {
    sovs_encoder* encoder = load(File().bytes());
    sovs_plan* plan = nullptr;
    CHECK(sovs_encoder_plan(encoder, 1, 8, 6, 2, &plan) == SOVS_OK);
    sovs_encoder_destroy(encoder);
    std::vector<int> times_seen(4, 0);
    for (int i = 0; i < sovs_plan_step_count(plan); ++i) {
        sovs_step_info info;
        CHECK(sovs_plan_step_info(plan, i, &info) == SOVS_OK);
        CHECK(info.n == 1 && info.c == 4 && info.strip_group == -1);
        if (std::strcmp(info.backend, "copy") == 0) continue;
        ++times_seen.at(info.step);
        if (info.step == 2) CHECK(info.density == 3.0 / 16 && info.tuning.tile_cols > 0 && std::strstr(info.backend, "rows1"));
        if (info.step == 3) CHECK(info.density == 0.5 && info.h == 4 && info.w == 3 && std::strstr(info.backend, "rows4"));
    }
    CHECK(times_seen == std::vector<int>(4, 1));
    sovs_step_info info;
    CHECK(sovs_plan_step_info(plan, sovs_plan_step_count(plan), &info) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_plan_arena_bytes(plan) > 0);
    CHECK(sovs_plan_add_avg_pool2x2(plan, 0, 1) == SOVS_INVALID_ARGUMENT);
    sovs_plan_destroy(plan);
}

TEST(sizes_that_no_encoder_can_run_are_refused) {
    sovs_encoder* encoder = load(File().bytes());
    sovs_shape shapes[2];
    const std::int64_t absurd = std::int64_t{1} << 62;
    for (const auto& [n, h, w] : {std::tuple<std::int64_t, std::int64_t, std::int64_t>{0, 8, 8}, {1, -1, 8}, {absurd, 8, 8},
                                  {1, absurd, absurd}, {1 << 20, 1 << 20, 1 << 20}, {1, 1, 8}}) {
        CHECK(sovs_encoder_outputs(encoder, n, h, w, shapes) == SOVS_INVALID_ARGUMENT);
        sovs_plan* plan = nullptr;
        CHECK(sovs_encoder_plan(encoder, n, h, w, 1, &plan) == SOVS_INVALID_ARGUMENT);
    }
    float number = 0;
    float* outputs[2] = {&number, &number};
    CHECK(sovs_encoder_run(encoder, &number, 1, 8, 8, outputs, 0) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_encoder_run(nullptr, &number, 1, 8, 8, outputs, 1) == SOVS_INVALID_ARGUMENT);
    sovs_encoder_destroy(encoder);
    sovs_encoder_destroy(nullptr);
}

TEST(files_of_others_and_newer_ones_are_refused_by_name) {
    sovs_encoder* encoder = nullptr;
    CHECK(sovs_encoder_load("/nowhere/x.plan", &encoder) == SOVS_INVALID_ARGUMENT);
    CHECK(std::strstr(sovs_last_error(), "got none at /nowhere/x.plan") != nullptr);
    CHECK(sovs_encoder_load("/", &encoder) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_encoder_load(nullptr, &encoder) == SOVS_INVALID_ARGUMENT);
    File file;
    CHECK(refused("", "whole safetensors file"));
    CHECK(refused("PK and other bytes of a zip file", "whole safetensors file"));
    CHECK(refused(file.bytes(with(file.header(), "sparse_ovs", "another_ovs")), "written by sparse_ovs"));
    file.version = "2";
    CHECK(refused(file.bytes(), "format version 1 or older, got 2: update"));
    file = File();
    file.kind = "model";
    CHECK(refused(file.bytes(), "expected a plan"));
}

TEST(programs_that_do_not_hold_together_are_refused) {
    const auto steps = [](const std::string& old, const std::string& fresh) {
        File file;
        file.steps = with(file.steps, old, fresh);
        return file.bytes();
    };
    CHECK(refused(steps("avg_pool2x2", "softmax"), "an op that this version knows, got softmax"));
    CHECK(refused(steps("\"input\": \"stem\"", "\"input\": \"b\""), "got b"));
    CHECK(refused(steps("\"name\": \"pool\"", "\"name\": \"stem\""), "stem twice"));
    CHECK(refused(steps("\"residual\": \"a\"", "\"residual\": \"x\""), "a residual of b with 4 channels"));
    CHECK(refused(steps("[1, 1]", "[1, 0]"), "stride from 1"));
    CHECK(refused(steps("[1, 1]", "[1, 9223372036854775807]"), "stride from 1"));
    CHECK(refused(steps("[1, 1]", "[1, 9223372036854775808]"), "64 bits"));
    CHECK(refused(steps("[1, 1]", "[1]"), "two numbers as stride"));
    CHECK(refused(steps("[1, 1]", "[1, 1.5]"), "an integer"));
    CHECK(refused(steps("[4, 2, 3, 3]", "[4, 2, 3, 4]"), "another shape of stem.weight"));
    CHECK(refused(steps("[4, 2, 3, 3]", "[4, 2, 9]"), "four dimensions"));
    CHECK(refused(steps("[4, 4, 1, 1]", "[4, 2147483647, 2147483647, 1]"), "2**31"));
    CHECK(refused(steps("\"groups\": 1", "\"groups\": 3"), "groups"));
    CHECK(refused(steps("\"block_rows\": 4", "\"block_rows\": 8"), "block_rows of 1 or 4"));
    CHECK(refused(steps("\"block_rows\": 4", "\"block_rows\": 1"), "another shape of b.row_ptr"));
    CHECK(refused(steps("relu", "tanh"), "an activation that this version knows, got tanh"));
    CHECK(refused(steps("\"groups\": 1, ", ""), "\"groups\""));
    File file;
    file.channels = "3";
    CHECK(refused(file.bytes(), "stem"));
    file = File();
    file.outputs = R"(["stem", "stem"])";
    CHECK(refused(file.bytes(), "every output once"));
    file.outputs = R"(["x"])";
    CHECK(refused(file.bytes(), "got the input"));
    file.outputs = "[]";
    CHECK(refused(file.bytes(), "at least one output"));
}

TEST(tensors_that_lie_are_refused) {
    const File file;
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
    File other;
    std::int32_t row_ptr[5] = {0, 1, 1, 2, 1 << 30};
    std::memcpy(&other.data[12 + 32 + 16 + 288], row_ptr, sizeof row_ptr);
    CHECK(refused(other.bytes(), "shape of a.values"));
    row_ptr[4] = 3;
    row_ptr[1] = 1 << 30;
    std::memcpy(&other.data[12 + 32 + 16 + 288], row_ptr, sizeof row_ptr);
    CHECK(refused(other.bytes(), "never to fall"));
}

TEST(json_that_is_none_is_refused) {
    const File file;
    for (const char* text : {"", "{", "[1, 2", "{\"a\" 1}", "{\"a\": 1,}", "{\"a\": 1, \"a\": 2}", "{\"a\": tru}", "{\"a\": 01}",
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
    const std::string bytes = File().bytes();
    for (std::size_t length = 0; length < bytes.size(); length += 64) CHECK(refused(bytes.substr(0, length), "expected"));
    CHECK(refused(bytes.substr(0, bytes.size() - 1), "cut"));
}

TEST(no_flipped_bit_does_more_than_fail) {
    const File file;
    const std::string bytes = file.bytes();
    for (std::size_t i = 0; i < bytes.size(); ++i)
        for (int bit = static_cast<int>(i % 2); bit < 8; bit += 2) {
            std::string damaged = bytes;
            damaged[i] = static_cast<char>(damaged[i] ^ 1 << bit);
            try_out(damaged);
        }
}
