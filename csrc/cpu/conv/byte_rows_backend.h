// int8 convolutions: s8 weights in blocks of one, two or four rows, on maps of u8.
#pragma once
#include "conv/backend.h"

namespace sovs {

// By how many rows, output channels, a block of the weights has.
const ConvBackend& byte_rows1_backend();
const ConvBackend& byte_rows2_backend();
const ConvBackend& byte_rows4_backend();

}  // namespace sovs
