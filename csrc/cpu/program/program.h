// What an encoder computes: a list of operations over numbered values, read from records as plan files hold them.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "program/json.h"
#include "program/tensor_source.h"

namespace sovs {

// What a record says of a value's numbers.
struct ValueType {
    DType dtype = DType::f32;
    Quant quant{};
};

struct ProgramInput {
    std::string name;
    std::int64_t channels;
    ValueType type;
};

struct ProgramStep {
    std::string name;
    std::shared_ptr<const Operation> operation;
    std::vector<int> inputs;  // values
    ValueType type;           // of the value that it makes
};

// Values are numbered: the inputs first, then what each step makes.
struct Program {
    std::vector<ProgramInput> inputs;
    std::vector<ProgramStep> steps;
    std::vector<int> outputs;     // values that steps make, each once
    std::optional<MapSize> size;  // of the only input that it takes; any where there is none
};

// Reads a header as plan files of this and of older versions hold it; which, its format_version says. Throws
// InvalidArgument where it, or a tensor, is not what the format asks for.
Program read_program(const Json& header, TensorSource& tensors);

// The maps of all values for such inputs, those of steps NCHW. Tiles of inputs: TensorDesc::kNhwc, or 0 for NCHW.
// Throws InvalidArgument where inputs are too small for a step, do not fit the program, or a map would be larger than
// memory.
std::vector<TensorDesc> program_shapes(const Program& program, const std::vector<TensorDesc>& inputs);

// The plan for such inputs; tiles of outputs: TensorDesc::kNhwc, or 0 for NCHW.
std::shared_ptr<Plan> lower_program(const Program& program, const std::vector<TensorDesc>& inputs,
                                    const std::vector<std::int64_t>& output_tiles, int threads);

}  // namespace sovs
