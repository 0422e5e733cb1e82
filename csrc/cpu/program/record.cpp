#include "program/record.h"

#include "base/error.h"
#include "program/stored_weights.h"

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
    return tensors_.read_row<float>(tensor);
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
    const Json& said = json_.at("weight");
    PackedWeights packed = read_stored_weights(tensors_, name(), said, integer("groups", 1, kLargestSize));
    const std::vector<float> bias = floats("bias");
    if (!bias.empty() && static_cast<std::int64_t>(bias.size()) != packed.structure.sizes.out_channels)
        refuse("another shape of " + name() + ".bias");
    return std::make_shared<const Weights>(std::move(packed), bias.empty() ? nullptr : bias.data());
}

}  // namespace sovs
