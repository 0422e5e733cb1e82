// Reads programs from records, of this version and of older ones.
#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "program/operations.h"
#include "program/program.h"
#include "program/record.h"

namespace sovs {
namespace {

constexpr std::int64_t kFormatVersion = 2;

[[noreturn]] void refuse(const std::string& expected) { throw InvalidArgument("expected " + expected); }

std::int64_t version_of(const Json& header) {
    const std::int64_t version = header.at("format_version").integer();
    if (version < 1) refuse("a format version of at least 1");
    if (version > kFormatVersion)
        refuse("format version " + std::to_string(kFormatVersion) + " or older, got " + std::to_string(version) +
               ": update sparse_ovs to read it");
    return version;
}

// The number of a value by its name.
int value_of(const std::vector<std::string>& names, const Json& name) {
    const auto found = std::find(names.begin(), names.end(), name.string());
    if (found == names.end()) refuse("steps to read what an input or a step before is, got " + name.string());
    return static_cast<int>(found - names.begin());
}

DType dtype_of(const std::string& name) {
    for (const DType each : {DType::f32, DType::u8, DType::s8, DType::s32, DType::bf16})
        if (name == name_of(each)) return each;
    refuse("a dtype that this version knows, got " + name);
}

// A zero point is one of the integers that it is taken from.
std::int32_t zero_point_of(const Json& number, DType integers) {
    const std::int64_t least = integers == DType::u8 ? 0 : integers == DType::s8 ? -128 : INT32_MIN;
    const std::int64_t most = integers == DType::u8 ? 255 : integers == DType::s8 ? 127 : INT32_MAX;
    return static_cast<std::int32_t>(integer_in(number, least, most, "zero_point"));
}

ValueType type_of(const Json& said) {
    ValueType type;
    if (const Json* named = said.find("dtype")) type.dtype = dtype_of(named->string());
    const Json* quant = said.find("quant");
    if (is_float(type.dtype)) {
        if (quant != nullptr) refuse("\"quant\" of integers alone, got one of " + std::string(name_of(type.dtype)));
        return type;
    }
    if (quant == nullptr) refuse("\"quant\" of numbers of " + std::string(name_of(type.dtype)) + ", got none");
    type.quant.scale = static_cast<float>(quant->at("scale").number());
    if (!(type.quant.scale > 0.0f) || type.quant.scale > 3e38f) refuse("a scale above 0");
    type.quant.zero_point = zero_point_of(quant->at("zero_point"), type.dtype);
    return type;
}

class Reader {
public:
    Reader(const Json& header, TensorSource& tensors)
        : header_(header), tensors_(tensors), first_version_(version_of(header) == 1) {}

    Program program() {
        Program made;
        read_inputs(made);
        for (const Json& json : header_.at("steps").array()) {
            const std::string& name = json.at("name").string();
            try {
                made.steps.push_back(step(json));
            } catch (const InvalidArgument& error) {
                throw InvalidArgument(std::string(error.what()) + " in " + name);
            }
            add(name, channels_of(made.steps.back()));
        }
        for (const Json& output : header_.at("outputs").array()) {
            const int value = value_of(names_, output);
            if (std::find(made.outputs.begin(), made.outputs.end(), value) != made.outputs.end())
                refuse("every output once, got " + output.string() + " twice");
            if (value < static_cast<int>(made.inputs.size())) refuse("outputs that steps make, got the input");
            made.outputs.push_back(value);
        }
        if (made.outputs.empty()) refuse("at least one output");
        if (const Json* size = header_.find("input_size"); size != nullptr && !size->is_null()) {
            if (size->array().size() != 2) refuse("two numbers as input_size");
            const auto side = [&](std::size_t i) {
                return integer_in(size->array()[i], 1, kLargestSize, "input_size");
            };
            made.size = MapSize{side(0), side(1)};
        }
        return made;
    }

private:
    void read_inputs(Program& made) {
        if (first_version_) {
            made.inputs.push_back({header_.at("input").string(),
                                   integer_in(header_.at("input_channels"), 1, kLargestSize, "input_channels"),
                                   {}});
        } else {
            for (const Json& input : header_.at("inputs").array())
                made.inputs.push_back({input.at("name").string(),
                                       integer_in(input.at("channels"), 1, kLargestSize, "channels"), type_of(input)});
        }
        if (made.inputs.empty()) refuse("at least one input");
        for (const ProgramInput& input : made.inputs) add(input.name, input.channels);
    }

    void add(const std::string& name, std::int64_t channels) {
        if (std::find(names_.begin(), names_.end(), name) != names_.end())
            refuse("every value to have a name of its own, got " + name + " twice");
        names_.push_back(name);
        channels_.push_back(channels);
    }

    std::int64_t channels_of(const ProgramStep& step) const {
        std::vector<std::int64_t> inputs;
        for (const int value : step.inputs) inputs.push_back(channels_[value]);
        try {
            return step.operation->out_channels(inputs);
        } catch (const InvalidArgument& error) {
            throw InvalidArgument(std::string(error.what()) + " in " + step.name);
        }
    }

    ProgramStep step(const Json& json) {
        ProgramStep made{json.at("name").string(), nullptr, {}, type_of(json)};
        if (first_version_) {
            made.inputs.push_back(value_of(names_, json.at("input")));
            const Json* residual = json.find("residual");
            if (residual != nullptr && !residual->is_null()) made.inputs.push_back(value_of(names_, *residual));
        } else {
            for (const Json& input : json.at("inputs").array()) made.inputs.push_back(value_of(names_, input));
        }
        require_inputs(made.inputs.size(), 1, kMostInputs);
        made.operation = read_operation(Record(json, tensors_), made.inputs.size());
        return made;
    }

    const Json& header_;
    TensorSource& tensors_;
    bool first_version_;
    std::vector<std::string> names_;  // of values
    std::vector<std::int64_t> channels_;
};

}  // namespace

Program read_program(const Json& header, TensorSource& tensors) { return Reader(header, tensors).program(); }

}  // namespace sovs
