// Plan files of int8: s8 weights with scales, and columns told by the gaps between them.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "plan_file.h"

namespace {

const std::string kPlain = R"("stride": [1, 1], "dilation": [1, 1], "groups": 1, "activation": null, )";

std::string conv(const std::string& name, const std::string& inputs, const std::string& padding,
                 const std::string& weight) {
    return R"(, {"op": "conv2d", "name": ")" + name + R"(", "inputs": )" + inputs + ", " + kPlain + R"("padding": )" +
           padding + R"(, "weight": )" + weight + R"(, "dtype": "u8", "quant": {"scale": 0.5, "zero_point": 100}})";
}

// Convolutions of dense weights, of rows of one ("wide", whose columns lie far apart), and of blocks of two rows.
PlanFile byte_file(bool gaps = true) {
    PlanFile file(2);
    file.tensors = file.data = "";
    file.outputs = R"(["y"])";
    file.steps = R"([{"op": "convert", "name": "q", "inputs": ["x"], "dtype": "u8", )"
                 R"("quant": {"scale": 0.25, "zero_point": 20}})" +
                 conv("stem", R"(["q"])", "[1, 1]", R"({"shape": [4, 2, 3, 3]})") +
                 conv("wide", R"(["stem"])", "[4, 4]", R"({"shape": [2, 4, 9, 9], "block_rows": 1})") +
                 conv("twos", R"(["wide", "stem"])", "[0, 0]", R"({"shape": [4, 2, 1, 1], "block_rows": 2})") +
                 R"(, {"op": "convert", "name": "y", "inputs": ["twos"]}])";
    file.add("stem.scales", "F32", "[4]", std::vector<float>{0.5f, 0.25f, 0.125f, 1.0f});
    file.add("wide.scales", "F32", "[2]", std::vector<float>{0.5f, 0.25f});
    file.add("twos.scales", "F32", "[4]", std::vector<float>{1.0f, 0.5f, 0.25f, 1.0f});
    file.add("twos.bias", "F32", "[4]", std::vector<float>{1, -1, 3, -3});
    const std::vector<std::int32_t> wide{10, 311, 255}, twos{0, 1, 1};
    if (!gaps) {
        file.add("wide.row_ptr", "I32", "[3]", std::vector<std::int32_t>{0, 2, 3});
        file.add("wide.indices", "I32", "[3]", wide);
        file.add("twos.row_ptr", "I32", "[3]", std::vector<std::int32_t>{0, 2, 3});
        file.add("twos.indices", "I32", "[3]", twos);
    }
    std::vector<std::int8_t> stem(72);
    for (std::size_t i = 0; i < stem.size(); ++i) stem[i] = static_cast<std::int8_t>(i * 7 % 256 - 128);
    file.add("stem.weight", "I8", "[4, 2, 3, 3]", stem);
    file.add("wide.values", "I8", "[3, 1]", std::vector<std::int8_t>{5, -6, 7});
    file.add("twos.values", "I8", "[3, 2]", std::vector<std::int8_t>{1, -2, 3, 0, 127, -128});
    if (gaps) {
        file.add("wide.gaps", "U8", "[5]", std::vector<std::uint8_t>{10, 255, 45, 255, 0});
        file.add("twos.gaps", "U8", "[3]", std::vector<std::uint8_t>{0, 0, 1});
        file.add("wide.counts", "U16", "[2]", std::vector<std::uint16_t>{2, 1});
        file.add("twos.counts", "U16", "[2]", std::vector<std::uint16_t>{2, 1});
    }
    return file;
}

}  // namespace

TEST(columns_told_by_their_gaps_are_those_told_by_their_numbers) {
    sovs_encoder *told = load(byte_file().bytes()), *numbered = load(byte_file(false).bytes());
    CHECK(told != nullptr && numbered != nullptr);
    for (const int threads : {1, 2}) {
        const std::vector<float> expected = run(numbered, 2, 9, 14, threads);
        CHECK(!expected.empty() && run(told, 2, 9, 14, threads) == expected);
        CHECK(*std::min_element(expected.begin(), expected.end()) <
              *std::max_element(expected.begin(), expected.end()));
    }
    sovs_encoder_destroy(told);
    sovs_encoder_destroy(numbered);
}

TEST(columns_of_float32_weights_may_be_told_by_their_gaps) {
    PlanFile numbered(2), told(2);
    told.tensors = with(told.tensors, "\"a.row_ptr\"", "\"unread\"");
    told.tensors = with(told.tensors, "\"a.indices\"", "\"unread too\"");
    told.add("a.gaps", "U8", "[3]", std::vector<std::uint8_t>{1, 0, 3});
    told.add("a.counts", "U16", "[4]", std::vector<std::uint16_t>{1, 0, 1, 1});
    sovs_encoder *first = load(numbered.bytes()), *second = load(told.bytes());
    const std::vector<float> expected = run(first, 1, 8, 6, 1);
    CHECK(!expected.empty() && run(second, 1, 8, 6, 1) == expected);
    sovs_encoder_destroy(first);
    sovs_encoder_destroy(second);
}

TEST(gaps_that_are_not_those_of_the_columns_are_refused) {
    const PlanFile file = byte_file();
    const std::size_t gaps = file.data.size() - 16;  // of wide
    const auto damaged = [&](std::size_t place, int byte) {
        PlanFile other = file;
        other.data.at(place) = static_cast<char>(byte);
        return other.bytes();
    };
    CHECK(file.data[gaps] == 10 && file.data[gaps + 5] == 0);
    CHECK(refused(damaged(gaps + 2, 70), "columns below 324 in wide.gaps, got 336 in wide ("));
    CHECK(refused(damaged(gaps + 4, 255), "gaps of 3 columns in wide.gaps, got fewer in wide ("));
    CHECK(refused(damaged(gaps + 1, 254), "gaps of 3 columns in wide.gaps, got 2 bytes more in wide ("));
    const std::size_t counts = file.data.size() - 8;
    CHECK(file.data[counts] == 2);
    CHECK(refused(damaged(counts, 1), "another shape of wide.values in wide ("));
    CHECK(refused(damaged(counts + 1, 255), "another shape of wide.values in wide ("));
    const auto header = [&](const std::string& old, const std::string& fresh) {
        return file.bytes(with(file.header(), old, fresh));
    };
    CHECK(refused(header("\"wide.counts\"", "\"wide.count\""), "a tensor wide.counts"));
    CHECK(refused(header("\"wide.gaps\"", "\"wide.gap\""), "a tensor wide.row_ptr"));
    CHECK(refused(header("\"U8\", \"shape\": [5]", "\"I8\", \"shape\": [5]"), "wide.gaps of type U8, got I8"));
    CHECK(refused(header("\"U8\", \"shape\": [5]", "\"U8\", \"shape\": [1, 5]"), "one dimension of wide.gaps"));
    CHECK(refused(header("\"U16\", \"shape\": [2]", "\"I16\", \"shape\": [2]"), "wide.counts of type U16, got I16"));
    CHECK(refused(header("\"U16\", \"shape\": [2]", "\"U16\", \"shape\": [2, 1]"), "another shape of wide.counts"));
}

TEST(s8_weights_that_do_not_hold_together_are_refused) {
    const PlanFile file = byte_file();
    const auto header = [&](const std::string& old, const std::string& fresh) {
        return file.bytes(with(file.header(), old, fresh));
    };
    CHECK(refused(header("\"wide.scales\"", "\"wide.scale\""), "a tensor wide.scales, got none in wide ("));
    CHECK(refused(header("\"stem.scales\"", "\"stem.scale\""), "a tensor stem.scales, got none in stem ("));
    CHECK(refused(header("\"F32\", \"shape\": [2]", "\"F32\", \"shape\": [2, 1]"), "another shape of wide.scales"));
    CHECK(refused(header("\"F32\", \"shape\": [2]", "\"I32\", \"shape\": [2]"), "wide.scales of type F32"));
    CHECK(refused(header("\"I8\", \"shape\": [3, 1]", "\"U8\", \"shape\": [3, 1]"), "wide.values of type F32, got U8"));
    PlanFile other = file;
    other.steps = with(file.steps, "\"block_rows\": 2", "\"block_rows\": 3");
    CHECK(refused(other.bytes(), "block_rows of 1, 2 or 4 in twos ("));
    other = PlanFile(2);
    other.steps = with(other.steps, "\"block_rows\": 4", "\"block_rows\": 2");
    CHECK(refused(other.bytes(), "block_rows of 1 or 4 in b ("));
    other = file;
    const float negative = -1.0f;
    std::memcpy(other.data.data(), &negative, sizeof negative);
    CHECK(refused(other.bytes(), "finite scales of at least 0 in stem ("));
}

TEST(s8_weights_of_a_float32_map_have_no_kernel) {
    PlanFile file = byte_file();
    file.steps = with(file.steps, R"("inputs": ["q"])", R"("inputs": ["x"])");
    sovs_encoder* encoder = load(file.bytes());
    sovs_plan* plan = nullptr;
    CHECK(encoder != nullptr);
    CHECK(refused(sovs_encoder_plan(encoder, 1, 8, 6, 1, &plan), "expected"));
    sovs_encoder_destroy(encoder);
}

TEST(no_flipped_bit_of_an_int8_file_does_more_than_fail) {
    const std::string bytes = byte_file().bytes();
    for (std::size_t i = 0; i < bytes.size(); ++i)
        for (int bit = static_cast<int>(i % 2); bit < 8; bit += 2) {
            std::string damaged = bytes;
            damaged[i] = static_cast<char>(damaged[i] ^ 1 << bit);
            try_out(damaged);
        }
}
