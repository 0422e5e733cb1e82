// Programs and their plans from records, for tests: everything that the C API asks for, in one place.
#pragma once
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "check.h"
#include "sparse_ovs.h"

// Whether a call was refused for the reason that the word names.
inline bool refused(sovs_status status, const std::string& word) {
    const bool ok = status == SOVS_INVALID_ARGUMENT && std::strstr(sovs_last_error(), word.c_str()) != nullptr;
    if (!ok)
        std::printf("expected '%s', got status %d and '%s'\n", word.c_str(), static_cast<int>(status),
                    status == SOVS_OK ? "success" : sovs_last_error());
    return ok;
}

inline sovs_map map_of(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w,
                       std::int64_t layout = SOVS_NCHW) {
    return {sizeof(sovs_map), n, c, h, w, layout, SOVS_F32, 0.0f, 0};
}

inline sovs_buffer buffer_of(const std::vector<float>& numbers) {
    return {sizeof(sovs_buffer), const_cast<float*>(numbers.data()), numbers.size() * sizeof(float), SOVS_F32};
}

inline std::string quoted(const std::string& text) { return '"' + text + '"'; }

// JSON lists.
inline std::string list(const std::vector<std::string>& items) {
    std::string all;
    for (const std::string& item : items) all += (all.empty() ? "" : ", ") + item;
    return '[' + all + ']';
}
inline std::string names(const std::vector<std::string>& given) {
    std::vector<std::string> items;
    for (const std::string& name : given) items.push_back(quoted(name));
    return list(items);
}
inline std::string numbers(const std::vector<std::int64_t>& given) {
    std::vector<std::string> items;
    for (const std::int64_t number : given) items.push_back(std::to_string(number));
    return list(items);
}

// A program in the making: inputs called "in0", "in1", ..., then records, which read them and each other by name.
struct Records {
    std::vector<sovs_map> inputs;
    std::vector<std::string> types;  // of inputs: ", \"dtype\": \"u8\"" and the like; none for floats
    std::vector<std::string> steps;
    std::vector<std::string> outputs;
    std::vector<std::int64_t> layouts;  // of the outputs
    std::vector<sovs_named_weights> weights;
    std::vector<sovs_named_tensor> tensors;
    std::string more;  // members of the header: ", \"input_size\": [2, 2]" and the like

    // members: ", \"dilation\": 2" and the like.
    void step(const std::string& op, const std::string& name, const std::vector<std::string>& read,
              const std::string& members = "") {
        steps.push_back("{\"op\": " + quoted(op) + ", \"name\": " + quoted(name) + ", \"inputs\": " + names(read) +
                        members + "}");
    }
    void use(const std::string& name, const sovs_weights* given) {
        weights.push_back({sizeof(sovs_named_weights), kept_names.emplace_back(name).c_str(), given});
    }
    template <typename Number = float>
    void tensor(const std::string& name, const std::vector<Number>& data, const std::vector<std::int64_t>& shape,
                std::int64_t dtype = SOVS_F32) {
        kept_shapes.push_back(shape);
        tensors.push_back({sizeof(sovs_named_tensor), kept_names.emplace_back(name).c_str(), data.data(), dtype,
                           static_cast<std::int64_t>(shape.size()), kept_shapes.back().data()});
    }
    void output(const std::string& name, std::int64_t layout = SOVS_NCHW) {
        outputs.push_back(name);
        layouts.push_back(layout);
    }

    std::string header() const {
        std::vector<std::string> given;
        for (std::size_t i = 0; i < inputs.size(); ++i)
            given.push_back("{\"name\": \"in" + std::to_string(i) + "\", \"channels\": " + std::to_string(inputs[i].c) +
                            (i < types.size() ? types[i] : "") + "}");
        return "{\"format_version\": 2, \"inputs\": " + list(given) + ", \"steps\": " + list(steps) +
               ", \"outputs\": " + names(outputs) + more + "}";
    }

    sovs_status program(sovs_program** made) const { return program(header(), made); }
    sovs_status program(const std::string& header, sovs_program** made) const {
        return sovs_program_create(header.c_str(), weights.data(), static_cast<std::int32_t>(weights.size()),
                                   tensors.data(), static_cast<std::int32_t>(tensors.size()), made);
    }
    sovs_status plan(const sovs_program* program, sovs_plan** made, int threads = 1) const {
        return sovs_plan_create(program, inputs.data(), static_cast<std::int32_t>(inputs.size()), layouts.data(),
                                static_cast<std::int32_t>(layouts.size()), threads, made);
    }
    // Both at once.
    sovs_status make(sovs_plan** made, int threads = 1) const {
        sovs_program* whole = nullptr;
        sovs_status status = program(&whole);
        if (status == SOVS_OK) status = plan(whole, made, threads);
        sovs_program_destroy(whole);  // the plan keeps what it needs
        return status;
    }
    // Of what must not become a plan.
    sovs_status attempt() const {
        sovs_plan* made = nullptr;
        const sovs_status status = make(&made);
        CHECK((status == SOVS_OK) == (made != nullptr));
        sovs_plan_destroy(made);
        return status;
    }

    std::deque<std::string> kept_names;  // those that weights and tensors point to stay where they are
    std::deque<std::vector<std::int64_t>> kept_shapes;

    Records() = default;
    Records(const Records&) = delete;
};

inline sovs_status run_plan(const sovs_plan* plan, const std::vector<sovs_buffer>& inputs,
                            const std::vector<sovs_buffer>& outputs, int threads = 1) {
    return sovs_plan_run(plan, inputs.data(), static_cast<std::int32_t>(inputs.size()), outputs.data(),
                         static_cast<std::int32_t>(outputs.size()), threads);
}

// Of the plan's last step, which writes an output.
inline sovs_step_info last_step(const sovs_plan* plan) {
    sovs_step_info info{};
    info.size = sizeof info;
    CHECK(sovs_plan_step_info(plan, sovs_plan_step_count(plan) - 1, &info) == SOVS_OK);
    return info;
}

inline constexpr sovs_tuning kLibraryChooses{sizeof(sovs_tuning), 0, 0, 0, 0, 0};

// The record of a convolution, without its name and inputs.
inline std::string conv_members(const sovs_conv2d_params& p, const sovs_tuning& tuning = kLibraryChooses) {
    constexpr const char* kNames[] = {"null", "\"relu\"", "\"gelu\"", "\"gelu_tanh\"", "\"quick_gelu\"", "\"relu6\""};
    return ", \"stride\": " + numbers({p.stride_h, p.stride_w}) + ", \"padding\": " + numbers({p.pad_h, p.pad_w}) +
           ", \"dilation\": " + numbers({p.dilation_h, p.dilation_w}) + ", \"activation\": " + kNames[p.activation] +
           ", \"tuning\": {\"tile_rows\": " + std::to_string(tuning.tile_rows) +
           ", \"tile_cols\": " + std::to_string(tuning.tile_cols) + ", \"k_tile\": " + std::to_string(tuning.k_tile) +
           ", \"row_parts\": " + std::to_string(tuning.row_parts) + ", \"panel\": " + std::to_string(tuning.panel) +
           "}";
}

// Of stride 1, without padding and dilation.
inline std::string plain_conv(std::int64_t activation = SOVS_NONE) {
    return conv_members({sizeof(sovs_conv2d_params), 1, 1, 0, 0, 1, 1, activation});
}

// Floats that go to a type of narrow numbers and back become what they are given as, eight of them over and over.
inline void check_conversion(const std::string& type, const std::vector<float>& given, const std::vector<float>& made) {
    for (const std::int64_t pixels : {1, 8, 61}) {  // below and above whole vectors
        Records records;
        records.inputs.push_back(map_of(1, 1, 1, pixels));
        records.step("convert", "narrow", {"in0"}, type);
        records.step("convert", "y", {"narrow"});
        records.output("y");
        sovs_plan* plan = nullptr;
        CHECK_SAYING(records.make(&plan) == SOVS_OK, sovs_last_error());
        std::vector<float> x(pixels), y(pixels);
        for (std::int64_t i = 0; i < pixels; ++i) x[i] = given[i % 8];
        CHECK(run_plan(plan, {buffer_of(x)}, {buffer_of(y)}) == SOVS_OK);
        for (std::int64_t i = 0; i < pixels; ++i) CHECK(y[i] == made[i % 8]);
        sovs_plan_destroy(plan);
    }
}
