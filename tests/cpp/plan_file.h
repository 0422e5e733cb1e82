// A plan file in the making, of either version, that tests damage in every way, and what they do with its bytes.
#pragma once
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "records.h"

// Two outputs by four kinds of steps; in version 2 a third one, by all others that there are.
struct PlanFile {
    std::string version, kind = "plan", channels = "2", steps, outputs, more;
    std::string tensors;  // members of the header
    std::string data;

    explicit PlanFile(int number) : version(std::to_string(number)) {
        const std::string plain = R"("stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1)";
        steps = R"([{"op": "conv2d", "name": "stem", )" + read("x", "") +
                R"(, "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1, "activation": "relu", )"
                R"("weight": {"shape": [4, 2, 3, 3]}}, {"op": "avg_pool2x2", "name": "pool", )" +
                read("stem") + R"(}, {"op": "conv2d", "name": "a", )" + read("pool", "") + ", " + plain +
                R"(, "activation": null, "weight": {"shape": [4, 4, 1, 1], "block_rows": 1}},)"
                R"( {"op": "conv2d", "name": "b", )" +
                read("pool", "a") + ", " + plain +
                R"(, "activation": "relu", "weight": {"shape": [4, 4, 1, 1], "block_rows": 4}})";
        outputs = number == 1 ? R"(["stem", "b"])" : R"(["stem", "b", "crop"])";
        add("a.values", "F32", "[3, 1]", std::vector<float>{1, 2, 3});
        add("b.values", "F32", "[2, 4]", std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8});
        add("b.bias", "F32", "[4]", std::vector<float>{1, -1, 1, -1});
        add("stem.weight", "F32", "[4, 2, 3, 3]", std::vector<float>(72, 0.25f));
        add("a.row_ptr", "I32", "[5]", std::vector<std::int32_t>{0, 1, 1, 2, 3});
        add("b.row_ptr", "I32", "[2]", std::vector<std::int32_t>{0, 2});
        add("b.indices", "I32", "[2]", std::vector<std::int32_t>{0, 3});
        add("a.indices", "U16", "[3]", std::vector<std::uint16_t>{1, 0, 3});
        if (number > 1) {
            steps +=
                R"(, {"op": "layer_norm", "name": "norm", "inputs": ["b"], "eps": 1e-5},)"
                R"( {"op": "atrous_pool2x2", "name": "wide", "inputs": ["norm"], "dilation": 2},)"
                R"( {"op": "attention", "name": "mix", "inputs": ["norm", "wide"], "heads": 2, "head_channels": 1,)"
                R"( "first": [0, 1, 2], "scale": 0.5},)"
                R"( {"op": "tokens", "name": "words", "inputs": ["mix"], "mean": true},)"
                R"( {"op": "crop", "name": "crop", "inputs": ["words"], "first": 0, "size": [1, 1]})";
            add("norm.gamma", "F32", "[4]", std::vector<float>{1, 1, 2, 2});
            add("norm.beta", "F32", "[4]", std::vector<float>{0, 0, 0, 3});
            add("words.constants", "F32", "[41, 2]", std::vector<float>(82, 0.5f));
        }
        steps += ']';
    }

    // What a step says of the values that it reads.
    std::string read(const std::string& input) const {
        return version == "1" ? "\"input\": " + quoted(input) : "\"inputs\": " + names({input});
    }
    // Of a convolution; no residual: "".
    std::string read(const std::string& input, const std::string& residual) const {
        if (version == "1") return read(input) + ", \"residual\": " + (residual.empty() ? "null" : quoted(residual));
        return residual.empty() ? read(input) : "\"inputs\": " + names({input, residual});
    }

    template <typename T>
    void add(const std::string& name, const std::string& dtype, const std::string& shape,
             const std::vector<T>& numbers) {
        const std::size_t begin = data.size();
        data.append(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T));
        tensors += ", \"" + name + "\": {\"dtype\": \"" + dtype + "\", \"shape\": " + shape + ", \"data_offsets\": [" +
                   std::to_string(begin) + ", " + std::to_string(data.size()) + "]}";
    }

    std::string program() const {
        const std::string input = version == "1" ? R"("input": "x", "input_channels": )" + channels
                                                 : R"("inputs": [{"name": "x", "channels": )" + channels + "}]";
        return R"({"format_version": )" + version + R"(, "kind": ")" + kind + "\", " + input + R"(, "steps": )" +
               steps + R"(, "outputs": )" + outputs + more + "}";
    }
    std::string header() const {
        std::string escaped;
        for (const char c : program()) {
            if (c == '"') escaped += '\\';
            escaped += c;
        }
        return R"({"__metadata__": {"sparse_ovs": ")" + escaped + "\"}" + tensors + "}";
    }
    std::string bytes() const { return bytes(header()); }
    std::string bytes(const std::string& header) const {
        std::string made(8, '\0');
        for (int i = 0; i < 8; ++i) made[i] = static_cast<char>(header.size() >> (8 * i));
        return made + header + data;
    }
};

// The encoder in these bytes; null where they are refused.
inline sovs_encoder* load(const std::string& bytes) {
    const std::string name = "sparse_ovs_test_" + std::to_string(getpid()) + ".plan";
    const std::string path = (std::filesystem::temp_directory_path() / name).string();
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    sovs_encoder* encoder = nullptr;
    const sovs_status status = sovs_encoder_load(path.c_str(), &encoder);
    CHECK((status == SOVS_OK) == (encoder != nullptr));
    CHECK(status != SOVS_INTERNAL_ERROR);
    std::filesystem::remove(path);
    return encoder;
}

inline bool refused(const std::string& bytes, const char* word) {
    sovs_encoder* encoder = load(bytes);
    const bool ok = encoder == nullptr && std::strstr(sovs_last_error(), word) != nullptr;
    if (!ok) std::printf("expected '%s', got '%s'\n", word, encoder == nullptr ? sovs_last_error() : "success");
    sovs_encoder_destroy(encoder);
    return ok;
}

inline std::vector<sovs_map> outputs_of(const sovs_encoder* encoder, std::int64_t n, std::int64_t h, std::int64_t w) {
    std::vector<sovs_map> maps(sovs_encoder_output_count(encoder), map_of(0, 0, 0, 0));
    if (sovs_encoder_outputs(encoder, n, h, w, maps.data()) != SOVS_OK) return {};
    return maps;
}

// Numbers of all outputs, one after the other; empty where the encoder refuses.
inline std::vector<float> run(const sovs_encoder* encoder, std::int64_t n, std::int64_t h, std::int64_t w,
                              int threads) {
    const std::vector<sovs_map> maps = outputs_of(encoder, n, h, w);
    if (maps.empty()) return {};
    std::vector<float> input(n * sovs_encoder_input_channels(encoder) * h * w);
    for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>(i % 7) - 3.0f;
    std::vector<std::vector<float>> made;
    std::vector<sovs_buffer> outputs;
    for (const sovs_map& m : maps) outputs.push_back(buffer_of(made.emplace_back(m.n * m.c * m.h * m.w)));
    const sovs_buffer given = buffer_of(input);
    if (sovs_encoder_run(encoder, &given, n, h, w, outputs.data(), static_cast<std::int32_t>(outputs.size()),
                         threads) != SOVS_OK)
        return {};
    std::vector<float> all;
    for (const auto& map : made) all.insert(all.end(), map.begin(), map.end());
    return all;
}

// Damaged files that happen to be whole must run too.
inline void try_out(const std::string& bytes) {
    sovs_encoder* encoder = load(bytes);
    if (encoder != nullptr) run(encoder, 1, 8, 6, 1);
    sovs_encoder_destroy(encoder);
}

inline std::string with(std::string text, const std::string& old, const std::string& fresh) {
    return text.replace(text.find(old), old.size(), fresh);
}
