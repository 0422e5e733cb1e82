// Sparse weights in blocks of one or four rows, and any other convolution: tiles of pixels times parts of output channels.
#pragma once
#include "conv/backend.h"

namespace sovs {

// By how many rows, output channels, a block of the weights has.
const ConvBackend& rows1_backend();
const ConvBackend& rows4_backend();

}  // namespace sovs
