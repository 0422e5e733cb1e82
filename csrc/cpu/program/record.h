// One record of a program: a step as JSON with the tensors that bear its name.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "program/json.h"
#include "program/tensor_source.h"
#include "weights/weights.h"

namespace sovs {

// Far beyond any encoder, and small enough that no product of two overflows.
inline constexpr std::int64_t kLargestSize = INT32_MAX, kLargestParam = (1 << 15) - 1;

// An integer between two others; throws InvalidArgument where it is none, and calls it `what`.
std::int64_t integer_in(const Json& value, std::int64_t least, std::int64_t most, const std::string& what);

// Every accessor throws InvalidArgument where the record has no such member, or one of another kind or size.
class Record {
public:
    Record(const Json& json, TensorSource& tensors) : json_(json), tensors_(tensors) {}

    const std::string& op() const { return json_.at("op").string(); }
    const std::string& name() const { return json_.at("name").string(); }
    std::int64_t integer(const char* member, std::int64_t least, std::int64_t most) const;
    float number(const char* member) const;
    bool boolean(const char* member) const { return json_.at(member).boolean(); }
    // Vertical, horizontal.
    std::pair<std::int64_t, std::int64_t> pair(const char* member, std::int64_t least, std::int64_t most) const;
    const Json* find(const char* member) const { return json_.find(member); }
    const Json& at(const char* member) const { return json_.at(member); }

    // The tensor `name.part` as fp32, of any length; empty where there is none.
    std::vector<float> floats(const char* part) const;
    // The same, (rows, columns).
    std::vector<float> matrix(const char* part, std::int64_t& rows, std::int64_t& columns) const;
    // Of a convolution: those that the caller has packed, or as the record and its tensors say.
    std::shared_ptr<const Weights> weights() const;

private:
    std::shared_ptr<const Weights> read_weights() const;

    const Json& json_;
    TensorSource& tensors_;
};

}  // namespace sovs
