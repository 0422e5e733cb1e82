// A convolution's weights as the tensors of its record hold them: dense or sparse, float32 or s8 with scales.
#pragma once
#include <cstdint>
#include <string>

#include "program/json.h"
#include "program/tensor_source.h"
#include "weights/packed.h"

namespace sovs {

// Of the step of that name; said: what its record says of its weight. Throws InvalidArgument where a tensor is missing, or
// is not what the record asks for.
PackedWeights read_stored_weights(TensorSource& tensors, const std::string& step, const Json& said,
                                  std::int64_t groups);

}  // namespace sovs
