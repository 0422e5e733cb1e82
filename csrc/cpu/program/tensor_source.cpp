#include "program/tensor_source.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>

#include "base/bf16.h"
#include "base/error.h"

namespace sovs {
namespace {

const char* spelled(DType type) {
    switch (type) {
        case DType::f32: return "F32";
        case DType::u8: return "U8";
        case DType::s8: return "I8";
        case DType::s32: return "I32";
        case DType::bf16: return "BF16";
    }
    throw InvalidArgument("expected a type of sovs_dtype");
}

template <typename Number>
constexpr const char* kSpelled = nullptr;
template <>
constexpr const char* kSpelled<float> = "F32";
template <>
constexpr const char* kSpelled<std::int32_t> = "I32";
template <>
constexpr const char* kSpelled<std::uint16_t> = "U16";
template <>
constexpr const char* kSpelled<std::int8_t> = "I8";
template <>
constexpr const char* kSpelled<std::uint8_t> = "U8";

}  // namespace

template <typename Number>
std::vector<Number> TensorSource::read_as(const std::string& name, const char* type,
                                          const std::vector<std::int64_t>& wanted) {
    if (dtype(name) != type) throw InvalidArgument("expected " + name + " of type " + type + ", got " + dtype(name));
    if (shape(name) != wanted) throw InvalidArgument("expected another shape of " + name);
    const auto count = std::accumulate(wanted.begin(), wanted.end(), std::int64_t{1}, std::multiplies<>());
    std::vector<Number> numbers(static_cast<std::size_t>(count));
    copy(name, numbers.data(), numbers.size() * sizeof(Number));
    return numbers;
}

template <>
std::vector<float> TensorSource::read(const std::string& name, const std::vector<std::int64_t>& wanted) {
    if (dtype(name) != "BF16") return read_as<float>(name, "F32", wanted);
    std::vector<float> numbers;
    for (const std::uint16_t half : read_as<std::uint16_t>(name, "BF16", wanted)) numbers.push_back(from_bf16(half));
    return numbers;
}

template <typename Number>
std::vector<Number> TensorSource::read(const std::string& name, const std::vector<std::int64_t>& wanted) {
    return read_as<Number>(name, kSpelled<Number>, wanted);
}

template <typename Number>
std::vector<Number> TensorSource::read_row(const std::string& name) {
    const std::vector<std::int64_t> whole = shape(name);
    if (whole.size() != 1) throw InvalidArgument("expected one dimension of " + name);
    return read<Number>(name, whole);
}

template std::vector<std::int32_t> TensorSource::read(const std::string&, const std::vector<std::int64_t>&);
template std::vector<std::uint16_t> TensorSource::read(const std::string&, const std::vector<std::int64_t>&);
template std::vector<std::int8_t> TensorSource::read(const std::string&, const std::vector<std::int64_t>&);
template std::vector<float> TensorSource::read_row(const std::string&);
template std::vector<std::uint8_t> TensorSource::read_row(const std::string&);

std::shared_ptr<const Weights> TensorSource::weights(const std::string&) const { return nullptr; }

void GivenTensors::add(const std::string& name, DType type, std::vector<std::int64_t> shape, const void* data) {
    for (const std::int64_t side : shape) require(side >= 0, "expected tensors with sides of at least 0");
    const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
    require(empty || data != nullptr, "expected a tensor's data, got NULL");
    given_.push_back({name, spelled(type), std::move(shape), data, nullptr});
}

void GivenTensors::add(const std::string& name, std::shared_ptr<const Weights> weights) {
    given_.push_back({name, "", {}, nullptr, std::move(weights)});
}

const GivenTensors::Given* GivenTensors::find(const std::string& name) const {
    const auto found = std::find_if(given_.begin(), given_.end(), [&](const Given& g) { return g.name == name; });
    return found == given_.end() ? nullptr : &*found;
}

bool GivenTensors::has(const std::string& name) const {
    const Given* found = find(name);
    return found != nullptr && found->weights == nullptr;
}

const GivenTensors::Given& GivenTensors::given(const std::string& name) const {
    if (!has(name)) throw InvalidArgument("expected a tensor " + name + ", got none");
    return *find(name);
}

std::shared_ptr<const Weights> GivenTensors::weights(const std::string& name) const {
    const Given* found = find(name);
    return found == nullptr ? nullptr : found->weights;
}

void GivenTensors::copy(const std::string& name, void* to, std::size_t bytes) {
    if (bytes > 0) std::memcpy(to, given(name).data, bytes);
}

}  // namespace sovs
