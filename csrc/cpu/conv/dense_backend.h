// A dense convolution of few input channels, such as an encoder's first one, into a pixel-major map.
#pragma once
#include "conv/backend.h"

namespace sovs {

const ConvBackend& dense_backend();

}  // namespace sovs
