// Programs of records: what each of them must say, which values it reads, and types that no kernel computes yet.
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "problem.h"

namespace {

using Members = std::vector<std::pair<std::string, std::string>>;

std::string object(const Members& members, const std::string& without = "") {
    std::string text;
    for (const auto& [name, value] : members)
        if (name != without) text += (text.empty() ? "" : ", ") + quoted(name) + ": " + value;
    return '{' + text + '}';
}

// An operation with all that its record must say and the tensors that it must have, for an input of 12 channels and 2x3
// pixels.
struct Kind {
    std::string op;
    Members members;
    std::vector<std::string> tensors;
};

std::vector<Kind> vocabulary() {
    return {
        {"conv2d",
         {{"stride", "[1, 1]"},
          {"padding", "[0, 0]"},
          {"dilation", "[1, 1]"},
          {"groups", "1"},
          {"activation", "null"},
          {"weight", R"({"shape": [4, 12, 1, 1], "block_rows": 1})"}},
         {"values", "indices", "row_ptr"}},
        {"avg_pool2x2", {}, {}},
        {"atrous_pool2x2", {{"dilation", "1"}}, {}},
        {"layer_norm", {{"eps", "1e-5"}}, {}},
        {"attention", {{"heads", "2"}, {"head_channels", "2"}, {"first", "[0, 4, 8]"}, {"scale", "0.5"}}, {}},
        {"tokens", {{"mean", "true"}}, {"constants"}},
        {"crop", {{"first", "0"}, {"size", "[2, 3]"}}, {}},
        {"upsample2x", {}, {}},
    };  // convert stands in byte_test.cpp: it changes types
}

// Numbers that fit the tensors of all kinds.
const std::vector<float> kValues{1, 2, 3}, kConstants(12 * 7, 0.5f);
const std::vector<std::int32_t> kRowPtr{0, 1, 1, 2, 3}, kIndices{3, 0, 11};

struct Whole {
    Records records;
    Members step;

    explicit Whole(const Kind& kind) : step{{"op", quoted(kind.op)}, {"name", "\"it\""}, {"inputs", "[\"in0\"]"}} {
        records.inputs.push_back(map_of(1, 12, 2, 3));
        step.insert(step.end(), kind.members.begin(), kind.members.end());
        for (const std::string& part : kind.tensors) give(part);
        records.output("it");
    }
    void give(const std::string& part) {
        if (part == "values") records.tensor("it.values", kValues, {3, 1});
        if (part == "row_ptr") records.tensor("it.row_ptr", kRowPtr, {5}, SOVS_S32);
        if (part == "indices") records.tensor("it.indices", kIndices, {3}, SOVS_S32);
        if (part == "constants") records.tensor("it.constants", kConstants, {7, 12});
    }
    sovs_status attempt(const std::string& record) {
        records.steps = {record};
        return records.attempt();
    }
};

// Of a header alone.
sovs_status attempt(const std::string& header) {
    sovs_program* made = nullptr;
    const sovs_status status = sovs_program_create(header.c_str(), nullptr, 0, nullptr, 0, &made);
    CHECK((status == SOVS_OK) == (made != nullptr));
    sovs_program_destroy(made);
    return status;
}

// A LayerNorm of an input, and what the records say of their types.
sovs_status attempt_typed(const std::string& input, const std::string& step, const sovs_map& map) {
    Records records;
    records.inputs.push_back(map);
    records.types.push_back(input);
    records.step("layer_norm", "norm", {"in0"}, ", \"eps\": 1e-5" + step);
    records.output("norm");
    return records.attempt();
}

sovs_map typed_map(sovs_dtype dtype, float scale = 0.0f, std::int32_t zero_point = 0) {
    sovs_map map = map_of(1, 4, 2, 2);
    map.dtype = dtype;
    map.scale = scale;
    map.zero_point = zero_point;
    return map;
}

std::string typed(const std::string& dtype, const std::string& scale, const std::string& zero_point) {
    return ", \"dtype\": " + quoted(dtype) + ", \"quant\": {\"scale\": " + scale + ", \"zero_point\": " + zero_point +
           "}";
}

const std::string kU8 = typed("u8", "0.5", "3"), kS8 = typed("s8", "1", "0");

}  // namespace

TEST(every_member_that_a_record_lacks_is_named) {
    for (const Kind& kind : vocabulary()) {
        Whole whole(kind);
        CHECK_SAYING(whole.attempt(object(whole.step)) == SOVS_OK, kind.op + ": " + sovs_last_error());
        for (const auto& [name, value] : whole.step)
            CHECK_SAYING(
                refused(whole.attempt(object(whole.step, name)), "expected \"" + name + "\" in a header, got none"),
                kind.op);
    }
}

TEST(every_part_of_a_weight_or_a_tuning_that_a_record_lacks_is_named) {
    const Kind conv = vocabulary()[0];
    const Members weight{{"shape", "[4, 12, 1, 1]"}, {"block_rows", "1"}};
    const Members tuning{{"tile_rows", "0"}, {"tile_cols", "0"}, {"k_tile", "0"}, {"row_parts", "0"}, {"panel", "0"}};
    const auto with = [&](const Members& said_weight, const std::string& without, const Members& said_tuning) {
        Whole whole(conv);
        whole.step.back().second = object(said_weight, without);
        whole.step.push_back({"tuning", object(said_tuning, without)});
        return whole.attempt(object(whole.step));
    };
    CHECK(with(weight, "", tuning) == SOVS_OK);
    for (const Members& all : {weight, tuning})
        for (const auto& [name, value] : all)
            CHECK(refused(with(weight, name, tuning), "expected \"" + name + "\" in a header, got none"));
    Whole null(conv);
    null.step.push_back({"tuning", "null"});
    CHECK(null.attempt(object(null.step)) == SOVS_OK);
}

TEST(every_tensor_that_a_record_lacks_is_named) {
    for (const Kind& kind : vocabulary())
        for (const std::string& missing : kind.tensors) {
            Kind less = kind;
            std::erase(less.tensors, missing);
            Whole whole(less);
            CHECK(refused(whole.attempt(object(whole.step)), "a tensor it." + missing + ", got none"));
        }
}

TEST(members_of_another_kind_are_refused) {
    for (const Kind& kind : vocabulary())
        for (std::size_t i = 0; i < Whole(kind).step.size(); ++i)
            for (const char* wrong : {"{}", "[[]]", "-0.5", "\"\""}) {
                Whole whole(kind);
                const std::string name = whole.step[i].first;
                if ((name == "eps" || name == "scale") && wrong == std::string("-0.5")) continue;  // any number
                if (name == "name" && wrong == std::string("\"\"")) continue;                      // any string
                whole.step[i].second = wrong;
                CHECK_SAYING(refused(whole.attempt(object(whole.step)), "expected"),
                             kind.op + " " + name + " " + wrong);
            }
}

TEST(every_member_that_a_header_lacks_is_named) {
    const Members header{{"format_version", "2"},
                         {"inputs", R"([{"name": "x", "channels": 4}])"},
                         {"steps", R"([{"op": "avg_pool2x2", "name": "pool", "inputs": ["x"]}])"},
                         {"outputs", R"(["pool"])"}};
    CHECK(attempt(object(header)) == SOVS_OK);
    for (const auto& [name, value] : header)
        CHECK(refused(attempt(object(header, name)), "expected \"" + name + "\" in a header, got none"));
    for (const char* missing : {"name", "channels"}) {
        Members less = header;
        less[1].second = '[' + object({{"name", "\"x\""}, {"channels", "4"}}, missing) + ']';
        CHECK(refused(attempt(object(less)), std::string("expected \"") + missing + "\" in a header, got none"));
    }
    const auto with = [&](std::size_t member, const char* value) {
        Members changed = header;
        changed[member].second = value;
        return attempt(object(changed));
    };
    CHECK(refused(with(0, "3"), "format version 2 or older, got 3: update"));
    CHECK(refused(with(0, "0"), "format version of at least 1"));
    CHECK(refused(with(1, "[]"), "at least one input"));
    CHECK(refused(with(1, R"([{"name": "x", "channels": 0}])"), "channels from 1"));
    CHECK(refused(with(1, R"([{"name": "x", "channels": 2147483648}])"), "channels from 1"));
    CHECK(refused(with(3, "[]"), "at least one output"));
    CHECK(refused(with(3, R"(["pool", "pool"])"), "every output once, got pool twice"));
    CHECK(refused(with(3, R"(["x"])"), "outputs that steps make"));
    CHECK(refused(with(3, R"(["y"])"), "got y"));
    CHECK(refused(attempt("no JSON"), "expected JSON with"));
    CHECK(refused(attempt(std::string(100'000, '[')), "less nesting"));
}

TEST(programs_without_what_they_are_made_of_are_refused) {
    const std::string header = R"({"format_version": 2})";
    sovs_program* made = nullptr;
    CHECK(refused(sovs_program_create(nullptr, nullptr, 0, nullptr, 0, &made), "header and out, got NULL"));
    CHECK(refused(sovs_program_create(header.c_str(), nullptr, 0, nullptr, 0, nullptr), "header and out, got NULL"));
    CHECK(refused(sovs_program_create(header.c_str(), nullptr, 1, nullptr, 0, &made), "an array of structs, got NULL"));
    CHECK(refused(sovs_program_create(header.c_str(), nullptr, 0, nullptr, -1, &made), "an array of structs"));
    sovs_plan* plan = nullptr;
    const sovs_map map = map_of(1, 1, 1, 1);
    CHECK(refused(sovs_plan_create(nullptr, &map, 1, nullptr, 0, 1, &plan), "program and out, got NULL"));
    const sovs_named_weights nobody{sizeof nobody, "conv", nullptr};
    CHECK(refused(sovs_program_create(header.c_str(), &nobody, 1, nullptr, 0, &made), "named weights, got NULL"));
    const std::int64_t shape[] = {2, -1};
    const float number = 0.0f;
    sovs_named_tensor tensor{sizeof tensor, "a.b", &number, SOVS_F32, 1, shape};
    const auto given = [&] { return sovs_program_create(header.c_str(), nullptr, 0, &tensor, 1, &made); };
    tensor.rank = 2;
    CHECK(refused(given(), "sides of at least 0"));
    tensor.rank = -1;
    CHECK(refused(given(), "a name and a shape"));
    tensor.rank = 1;
    tensor.shape = nullptr;
    CHECK(refused(given(), "a name and a shape"));
    tensor.shape = shape;
    tensor.name = nullptr;
    CHECK(refused(given(), "a name and a shape"));
    tensor.name = "a.b";
    tensor.data = nullptr;
    CHECK(refused(given(), "a tensor's data, got NULL"));
    tensor.data = &number;
    tensor.dtype = 5;
    CHECK(refused(given(), "a type of sovs_dtype"));
    CHECK(made == nullptr && plan == nullptr);
}

TEST(an_unknown_op_is_refused_by_name) {
    Records records;
    records.inputs.push_back(map_of(1, 4, 2, 2));
    records.step("softmax", "it", {"in0"});
    records.output("it");
    CHECK(refused(records.attempt(), "an op that this version knows, got softmax in it"));
}

TEST(each_op_refuses_more_or_fewer_inputs_than_it_reads) {
    for (const Kind& kind : vocabulary())
        for (const int count : {0, 2, 3, 4}) {
            if (count == 2 && kind.op == "attention") continue;
            Whole whole(kind);
            whole.step[2].second = names(std::vector<std::string>(count, "in0"));
            const sovs_status status = whole.attempt(object(whole.step));
            // A residual has the output's shape, which is not that of the input here.
            std::string expected = " inputs, got " + std::to_string(count) + " in it";
            if (count == 2 && kind.op == "conv2d") expected = "a residual with 4 channels, got 12 in it";
            if (count == 2 && kind.op == "upsample2x") expected = "a residual of the output's size in it";
            CHECK_SAYING(refused(status, expected), kind.op);
        }
}

TEST(a_value_that_is_read_before_it_is_made_is_refused) {
    const auto attempt = [](const std::string& first, const std::string& second) {
        Records records;
        records.inputs.push_back(map_of(1, 4, 8, 8));
        records.step("avg_pool2x2", "a", {first});
        records.step("avg_pool2x2", "b", {second});
        records.output("b");
        return records.attempt();
    };
    CHECK(attempt("in0", "a") == SOVS_OK);
    CHECK(refused(attempt("b", "a"), "what an input or a step before is, got b in a"));
    CHECK(refused(attempt("a", "in0"), "what an input or a step before is, got a in a"));
    CHECK(refused(attempt("in0", "nobody"), "what an input or a step before is, got nobody in b"));
}

TEST(a_name_that_is_given_twice_is_refused) {
    const auto attempt = [](const std::string& first, const std::string& second) {
        Records records;
        records.inputs.push_back(map_of(1, 4, 8, 8));
        records.step("avg_pool2x2", first, {"in0"});
        records.step("avg_pool2x2", second, {"in0"});
        records.output(first);
        return records.attempt();
    };
    CHECK(attempt("a", "b") == SOVS_OK);
    CHECK(refused(attempt("a", "a"), "a name of its own, got a twice"));
    CHECK(refused(attempt("a", "in0"), "a name of its own, got in0 twice"));
    CHECK(refused(
        ::attempt(R"({"format_version": 2, "inputs": [{"name": "x", "channels": 1}, {"name": "x", "channels": 1}],)"
                  R"( "steps": [], "outputs": []})"),
        "a name of its own, got x twice"));
}

TEST(records_of_the_first_version_make_the_same_program) {
    const Problem p;
    const Data data(p);
    sovs_weights* weights = data.weights(p);
    Records records;
    records.inputs.push_back(map_of(1, 8, 8, 8));
    records.use("conv", weights);
    records.output("conv");
    const std::string members = plain_conv();
    sovs_program* program = nullptr;
    CHECK_SAYING(
        records.program(R"({"format_version": 1, "input": "x", "input_channels": 8, "steps": [{"op": "conv2d", )"
                        R"("name": "conv", "input": "x", "residual": "x")" +
                            members + R"(}], "outputs": ["conv"]})",
                        &program) == SOVS_OK,
        sovs_last_error());
    sovs_plan* plan = nullptr;
    CHECK(records.plan(program, &plan) == SOVS_OK);
    Problem added = p;
    added.residual = true;
    Data with = data;
    with.residual = data.x;
    std::vector<float> y(8 * 64);
    CHECK(run_plan(plan, {buffer_of(data.x)}, {buffer_of(y)}) == SOVS_OK);
    CHECK(y == run(added, with));
    sovs_plan_destroy(plan);
    sovs_program_destroy(program);
    sovs_weights_destroy(weights);
}

TEST(weights_in_tensors_give_the_bits_of_packed_ones) {
    for (const std::int64_t block_rows : {1, 4}) {
        Problem p;
        p.block_rows = block_rows;
        p.groups = 2;
        p.kernel_h = p.kernel_w = 3;
        p.pad_h = p.pad_w = 1;
        const Data data(p);
        const auto blocks = static_cast<std::int64_t>(data.indices32.size());
        Records records;
        records.inputs.push_back(map_of(1, 8, 8, 8));
        records.tensor("conv.values", data.values, {blocks, block_rows});
        records.tensor("conv.indices", data.indices32, {blocks}, SOVS_S32);
        records.tensor("conv.row_ptr", data.row_ptr, {p.block_row_count() + 1}, SOVS_S32);
        records.tensor("conv.bias", data.bias, {8});
        records.step("conv2d", "conv", {"in0"},
                     conv_members(p.params()) +
                         ", \"groups\": 2, \"weight\": {\"shape\": [8, 4, 3, 3], \"block_rows\": " +
                         std::to_string(block_rows) + "}");
        records.output("conv");
        sovs_plan* plan = nullptr;
        CHECK_SAYING(records.make(&plan) == SOVS_OK, sovs_last_error());
        CHECK(run(p, data, plan) == run(p, data));
        sovs_plan_destroy(plan);
    }
}

TEST(a_weight_of_no_block_may_come_in_tensors_without_data) {
    Records records;
    records.inputs.push_back(map_of(1, 12, 2, 3));
    const std::vector<float> none, bias{1, 2, 3, 4};
    const std::vector<std::int32_t> no_index, row_ptr(5, 0);
    records.tensor("it.values", none, {0, 1});
    records.tensor("it.indices", no_index, {0}, SOVS_S32);
    records.tensor("it.row_ptr", row_ptr, {5}, SOVS_S32);
    records.tensor("it.bias", bias, {4});
    records.step("conv2d", "it", {"in0"},
                 plain_conv() + R"(, "groups": 1, "weight": {"shape": [4, 12, 1, 1], "block_rows": 1})");
    records.output("it");
    sovs_plan* plan = nullptr;
    CHECK_SAYING(records.make(&plan) == SOVS_OK, sovs_last_error());
    const std::vector<float> x(72, 5.0f);
    std::vector<float> y(24);
    CHECK(run_plan(plan, {buffer_of(x)}, {buffer_of(y)}) == SOVS_OK);
    for (std::size_t i = 0; i < y.size(); ++i) CHECK(y[i] == bias[i / 6]);
    sovs_plan_destroy(plan);
}

TEST(tensors_of_another_type_are_refused_by_name) {
    Records records;
    records.inputs.push_back(map_of(1, 4, 2, 2));
    const std::vector<std::uint8_t> gamma(4, 1);
    records.tensor("norm.gamma", gamma, {4}, SOVS_U8);
    records.step("layer_norm", "norm", {"in0"}, ", \"eps\": 1e-5");
    records.output("norm");
    CHECK(refused(records.attempt(), "norm.gamma of type F32, got U8 in norm"));
}

TEST(types_pass_through_a_program_and_are_refused_where_a_plan_needs_a_kernel) {
    const auto program = [](const std::string& input, const std::string& step) {
        Records records;
        records.inputs.push_back(map_of(1, 4, 2, 2));
        records.types.push_back(input);
        records.step("layer_norm", "norm", {"in0"}, ", \"eps\": 1e-5" + step);
        records.output("norm");
        sovs_program* made = nullptr;
        const sovs_status status = records.program(&made);
        sovs_program_destroy(made);
        return status;
    };
    const char* const said = "expected maps of types that there is a kernel of layer_norm for, got ";
    CHECK(program(kU8, "") == SOVS_OK && program("", kU8) == SOVS_OK && program(kU8, kU8) == SOVS_OK);
    CHECK(attempt_typed("", "", typed_map(SOVS_F32)) == SOVS_OK);
    CHECK(attempt_typed(R"(, "dtype": "f32")", R"(, "dtype": "f32")", typed_map(SOVS_F32)) == SOVS_OK);
    CHECK(refused(attempt_typed(kU8, "", typed_map(SOVS_U8, 0.5f, 3)), said + std::string("u8 -> f32")));
    CHECK(refused(attempt_typed("", typed("s8", "1", "0"), typed_map(SOVS_F32)), said + std::string("f32 -> s8")));
    CHECK(refused(attempt_typed(kU8, kU8, typed_map(SOVS_U8, 0.5f, 3)), said + std::string("u8 -> u8")));
    CHECK(refused(attempt_typed(R"(, "dtype": "bf16")", typed("s32", "1", "0"), typed_map(SOVS_BF16)),
                  said + std::string("bf16 -> s32")));
    CHECK(refused(attempt_typed(kS8, "", typed_map(SOVS_S8)), said + std::string("s8 -> f32")));
}

TEST(no_op_but_convert_makes_floats_of_numbers_of_8_bits) {
    for (const Kind& kind : vocabulary()) {
        Whole whole(kind);
        whole.records.types = {kU8};
        whole.records.inputs[0].dtype = SOVS_U8;
        whole.records.inputs[0].scale = 0.5f;
        whole.records.inputs[0].zero_point = 3;
        CHECK(refused(whole.attempt(object(whole.step)), "a kernel of " + kind.op + " for, got u8 -> f32"));
    }
}

TEST(an_error_about_types_names_what_the_record_says_and_no_copy) {
    const Problem p;
    sovs_weights* weights = Data(p).weights(p);
    for (const std::int64_t layout : {SOVS_NCHW, SOVS_NHWC}) {
        Records records;
        records.inputs = {map_of(1, 8, 8, 8), map_of(1, 8, 8, 8, layout)};
        records.types = {"", kS8};
        records.inputs[1].dtype = SOVS_S8;
        records.use("conv", weights);
        records.step("conv2d", "conv", {"in0", "in1"}, plain_conv());
        records.output("conv");
        CHECK(refused(records.attempt(), "a kernel of conv2d for, got f32 s8 -> f32"));
    }
    sovs_weights_destroy(weights);
}

TEST(a_map_of_another_type_than_the_program_says_is_refused) {
    CHECK(refused(attempt_typed(kU8, "", typed_map(SOVS_F32)), "a map of u8 as the program says of in0, got f32"));
    CHECK(refused(attempt_typed("", "", typed_map(SOVS_U8)), "a map of f32 as the program says of in0, got u8"));
    CHECK(refused(attempt_typed(kU8, "", typed_map(SOVS_U8, 0.25f, 3)), "got u8 of another scale or zero point"));
    CHECK(refused(attempt_typed(kU8, "", typed_map(SOVS_U8, 0.5f, 4)), "got u8 of another scale or zero point"));
}

TEST(integers_without_a_quant_are_refused_and_floats_with_one) {
    for (const char* dtype : {"u8", "s8", "s32"}) {
        const std::string bare = std::string(", \"dtype\": ") + quoted(dtype);
        CHECK(refused(attempt_typed(bare, "", typed_map(SOVS_F32)), std::string("\"quant\" of numbers of ") + dtype));
        CHECK(refused(attempt_typed("", bare, typed_map(SOVS_F32)), std::string("\"quant\" of numbers of ") + dtype));
    }
    const std::string unnamed = R"(, "quant": {"scale": 1, "zero_point": 0})";
    for (const auto& [said, dtype] :
         {std::pair(unnamed, "f32"), {typed("f32", "1", "0"), "f32"}, {typed("bf16", "1", "0"), "bf16"}}) {
        CHECK(refused(attempt_typed(said, "", typed_map(SOVS_F32)),
                      std::string("of integers alone, got one of ") + dtype));
        CHECK(refused(attempt_typed("", said, typed_map(SOVS_F32)),
                      std::string("of integers alone, got one of ") + dtype));
    }
}

TEST(a_zero_point_is_an_integer_of_its_dtype) {
    struct Range {
        sovs_dtype dtype;
        const char* name;
        std::int64_t least, most;
    };
    for (const Range& r :
         {Range{SOVS_U8, "u8", 0, 255}, {SOVS_S8, "s8", -128, 127}, {SOVS_S32, "s32", INT32_MIN, INT32_MAX}}) {
        const auto with = [&](std::int64_t zero_point) {
            return attempt_typed(typed(r.name, "1", std::to_string(zero_point)), "",
                                 typed_map(r.dtype, 1.0f, static_cast<std::int32_t>(zero_point)));
        };
        for (const std::int64_t inside : {r.least, r.most}) CHECK(refused(with(inside), "a kernel of layer_norm"));
        for (const std::int64_t outside : {r.least - 1, r.most + 1})
            CHECK(
                refused(with(outside), "zero_point from " + std::to_string(r.least) + " to " + std::to_string(r.most)));
    }
}

TEST(types_and_scales_that_are_none_are_refused) {
    const auto input = [](const std::string& said) { return attempt_typed(said, "", map_of(1, 4, 2, 2)); };
    const auto step = [](const std::string& said) { return attempt_typed("", said, map_of(1, 4, 2, 2)); };
    const auto both = [&](const std::string& said, const std::string& word) {
        CHECK(refused(input(said), word));
        CHECK(refused(step(said), word));
    };
    both(R"(, "dtype": "u16")", "a dtype that this version knows, got u16");
    both(R"(, "dtype": "F32")", "a dtype that this version knows, got F32");
    both(R"(, "dtype": 1)", "a string");
    for (const char* scale : {"0", "0.0", "-0.0", "-0.5", "1e-60", "1e60"})
        both(typed("u8", scale, "0"), "a scale above 0");
    for (const char* scale : {"NaN", "nan", "Infinity", "1e999"}) both(typed("u8", scale, "0"), "expected JSON with");
    both(typed("u8", "null", "0"), "a number");
    both(typed("u8", "1", "0.5"), "an integer");
    both(R"(, "dtype": "u8", "quant": {"scale": 1})", "\"zero_point\"");
    both(R"(, "dtype": "u8", "quant": {"zero_point": 1})", "\"scale\"");
    both(R"(, "dtype": "u8", "quant": [1, 0])", "an object");
}
