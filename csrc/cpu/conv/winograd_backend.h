// A dense 3x3 convolution by Winograd's F(2x2, 3x3): 4 products an output instead of 9, between pixel-major maps.
#pragma once
#include "conv/backend.h"

namespace sovs {

const ConvBackend& winograd_backend();

}  // namespace sovs
