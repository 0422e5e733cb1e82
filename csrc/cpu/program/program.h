// What an encoder computes, at any input size: a list of steps over numbered values, as a plan file holds it.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "program/json.h"
#include "plan/plan.h"
#include "program/safetensors.h"

namespace sovs {

// Value 0 is the input, value i + 1 what step i makes.
struct ProgramStep {
    enum class Kind { conv2d, avg_pool2x2, atrous_pool2x2 };
    Kind kind;
    std::string name;
    int input, residual;                     // values; residual is -1 for none
    std::shared_ptr<const Weights> weights;  // of a convolution
    ConvParams params;
    std::int64_t out_channels;
    AtrousPoolParams pool{1};  // of an à-trous pool
};

struct Program {
    std::int64_t in_channels;
    std::vector<ProgramStep> steps;
    std::vector<int> outputs;  // values that steps make, each once
};

// Throws InvalidArgument where the header or a tensor is not what the format asks for.
Program read_program(const Json& header, SafetensorsFile& file);

// The maps of all values for an input of n images of h x w pixels, NCHW. Throws InvalidArgument where the input is too
// small for a step, or a map would be larger than memory.
std::vector<TensorDesc> program_shapes(const Program& program, std::int64_t n, std::int64_t h, std::int64_t w);

// The final plan for such an input.
std::shared_ptr<Plan> lower_program(const Program& program, std::int64_t n, std::int64_t h, std::int64_t w, int threads);

}  // namespace sovs
