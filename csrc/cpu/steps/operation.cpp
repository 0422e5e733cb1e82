#include "steps/operation.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace sovs {

bool Operation::takes(const std::vector<DType>& inputs, DType output) const {
    const auto is_float = [](DType type) { return type == DType::f32; };
    return is_float(output) && std::all_of(inputs.begin(), inputs.end(), is_float);
}

void require_inputs(std::size_t given, std::size_t least, std::size_t most) {
    if (given >= least && given <= most) return;
    throw InvalidArgument("expected " + std::to_string(least) + (most > least ? " to " + std::to_string(most) : "") +
                          " inputs, got " + std::to_string(given));
}

}  // namespace sovs
