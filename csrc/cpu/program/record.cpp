#include "program/record.h"

#include "base/error.h"
#include "weights/pack.h"

namespace sovs {
namespace {

[[noreturn]] void refuse(const std::string& expected) { throw InvalidArgument("expected " + expected); }

}  // namespace

std::int64_t integer_in(const Json& value, std::int64_t least, std::int64_t most, const std::string& what) {
    const std::int64_t number = value.integer();
    if (number < least || number > most)
        refuse(what + " from " + std::to_string(least) + " to " + std::to_string(most) + ", got " +
               std::to_string(number));
    return number;
}

std::int64_t Record::integer(const char* member, std::int64_t least, std::int64_t most) const {
    return integer_in(json_.at(member), least, most, member);
}

float Record::number(const char* member) const { return static_cast<float>(json_.at(member).number()); }

std::pair<std::int64_t, std::int64_t> Record::pair(const char* member, std::int64_t least, std::int64_t most) const {
    const Json::Array& both = json_.at(member).array();
    if (both.size() != 2) refuse("two numbers as " + std::string(member));
    return {integer_in(both[0], least, most, member), integer_in(both[1], least, most, member)};
}

std::vector<float> Record::floats(const char* part) const {
    const std::string tensor = name() + "." + part;
    if (!tensors_.has(tensor)) return {};
    const std::vector<std::int64_t> shape = tensors_.shape(tensor);
    if (shape.size() != 1) refuse("one dimension of " + tensor);
    return tensors_.read<float>(tensor, shape);
}

std::vector<float> Record::matrix(const char* part, std::int64_t& rows, std::int64_t& columns) const {
    const std::string tensor = name() + "." + part;
    const std::vector<std::int64_t> shape = tensors_.shape(tensor);
    if (shape.size() != 2) refuse("two dimensions of " + tensor);
    rows = shape[0];
    columns = shape[1];
    return tensors_.read<float>(tensor, shape);
}

std::shared_ptr<const Weights> Record::weights() const {
    if (auto packed = tensors_.weights(name())) return packed;
    auto read = read_weights();
    read->drop_packed();  // a file's encoder makes few plans, and runs them often
    return read;
}

std::shared_ptr<const Weights> Record::read_weights() const {
    const std::string& step = name();
    const Json& given = json_.at("weight");
    const Json::Array& shape = given.at("shape").array();
    if (shape.size() != 4) refuse("a weight of four dimensions");
    std::int64_t sides[4];
    for (int i = 0; i < 4; ++i) sides[i] = integer_in(shape[i], 1, INT32_MAX, "sides of a weight");
    const std::int64_t groups = integer("groups", 1, sides[0]);
    const std::vector<float> bias = floats("bias");
    if (!bias.empty() && static_cast<std::int64_t>(bias.size()) != sides[0])
        refuse("another shape of " + step + ".bias");
    const float* bias_at = bias.empty() ? nullptr : bias.data();
    if (tensors_.has(step + ".weight")) {
        const auto dense = tensors_.read<float>(step + ".weight", {sides[0], sides[1], sides[2], sides[3]});
        const WeightSizes sizes{sides[0], sides[1], sides[2], sides[3], groups};
        return std::make_shared<const Weights>(pack_dense(sizes, {DType::f32, dense.data()}), bias_at);
    }
    const std::int64_t block_rows = given.at("block_rows").integer();
    if (block_rows != 1 && block_rows != 4) refuse("block_rows of 1 or 4");
    const auto row_ptr = tensors_.read<std::int32_t>(step + ".row_ptr", {(sides[0] + block_rows - 1) / block_rows + 1});
    const std::int64_t blocks = row_ptr.back();
    const auto values = tensors_.read<float>(step + ".values", {blocks, block_rows});
    std::vector<std::uint16_t> narrow;
    std::vector<std::int32_t> wide;
    const bool is_narrow = tensors_.dtype(step + ".indices") == "U16";
    if (is_narrow)
        narrow = tensors_.read<std::uint16_t>(step + ".indices", {blocks});
    else
        wide = tensors_.read<std::int32_t>(step + ".indices", {blocks});
    const void* indices = is_narrow ? static_cast<const void*>(narrow.data()) : wide.data();
    const WeightSizes sizes{sides[0], sides[1], sides[2], sides[3], groups, {block_rows, 1}};
    const TapMajorWeights sparse{sizes, row_ptr.data(), indices, is_narrow ? 16 : 32, {DType::f32, values.data()}};
    return std::make_shared<const Weights>(pack_sparse(sparse), bias_at);
}

}  // namespace sovs
