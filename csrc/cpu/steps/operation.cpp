#include "steps/operation.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace sovs {

std::int64_t Operation::out_channels(const std::vector<std::int64_t>& inputs) const {
    require_inputs(inputs.size(), 1, 1);
    return inputs[0];
}

MapSize Operation::out_size(const std::vector<TensorDesc>& inputs) const { return {inputs[0].h, inputs[0].w}; }

bool Operation::takes(const std::vector<DType>& inputs, DType output) const {
    const auto is_f32 = [](DType type) { return type == DType::f32; };
    return is_f32(output) && std::all_of(inputs.begin(), inputs.end(), is_f32);
}

bool makes_floats_or_bytes(const std::vector<DType>& inputs, DType output) {
    return (output == DType::f32 || output == DType::u8) &&
           std::all_of(inputs.begin(), inputs.end(), [](DType type) { return type == DType::f32; });
}

void require_inputs(std::size_t given, std::size_t least, std::size_t most) {
    if (given >= least && given <= most) return;
    throw InvalidArgument("expected " + std::to_string(least) + (most > least ? " to " + std::to_string(most) : "") +
                          " inputs, got " + std::to_string(given));
}

}  // namespace sovs
