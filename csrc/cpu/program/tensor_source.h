// Where a program's tensors come from: a file, or the memory of the caller.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace sovs {

class Weights;

class TensorSource {
public:
    virtual ~TensorSource() = default;

    virtual bool has(const std::string& name) const = 0;
    // As safetensors spells it: "F32", "I32", "U16", ... These throw InvalidArgument where there is no such tensor.
    virtual const std::string& dtype(const std::string& name) const = 0;
    virtual const std::vector<std::int64_t>& shape(const std::string& name) const = 0;

    // The numbers of a tensor, floats from BF16 too. Number is float, std::int32_t, std::uint16_t, std::int8_t or std::uint8_t; throws
    // InvalidArgument where the tensor is missing, of another type or of another shape.
    template <typename Number>
    std::vector<Number> read(const std::string& name, const std::vector<std::int64_t>& shape);
    // Of one dimension, as long as it is.
    template <typename Number>
    std::vector<Number> read_row(const std::string& name);

    // Weights that are packed already, by the name of their step; null for none.
    virtual std::shared_ptr<const Weights> weights(const std::string& name) const;

private:
    template <typename Number>
    std::vector<Number> read_as(const std::string& name, const char* type, const std::vector<std::int64_t>& shape);
    // Copies a tensor of `bytes` bytes.
    virtual void copy(const std::string& name, void* to, std::size_t bytes) = 0;
};

// What the caller holds; read while a program is made, and not kept.
class GivenTensors final : public TensorSource {
public:
    void add(const std::string& name, DType type, std::vector<std::int64_t> shape, const void* data);
    void add(const std::string& name, std::shared_ptr<const Weights> weights);

    bool has(const std::string& name) const override;
    const std::string& dtype(const std::string& name) const override { return given(name).dtype; }
    const std::vector<std::int64_t>& shape(const std::string& name) const override { return given(name).shape; }
    std::shared_ptr<const Weights> weights(const std::string& name) const override;

private:
    struct Given {
        std::string name, dtype;
        std::vector<std::int64_t> shape;
        const void* data;
        std::shared_ptr<const Weights> weights;
    };
    const Given* find(const std::string& name) const;
    const Given& given(const std::string& name) const;
    void copy(const std::string& name, void* to, std::size_t bytes) override;

    std::vector<Given> given_;
};

}  // namespace sovs
