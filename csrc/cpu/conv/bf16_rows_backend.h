// bf16 convolutions: float32 weights, rounded to bf16, in blocks of one or four rows, on maps of bf16.
#pragma once
#include "conv/backend.h"

namespace sovs {

// By how many rows, output channels, a block of the weights has.
const ConvBackend& bf16_rows1_backend();
const ConvBackend& bf16_rows4_backend();

}  // namespace sovs
