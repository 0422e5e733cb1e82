// Depthwise int8 convolutions whose taps are shifts of the map.
#pragma once
#include "conv/backend.h"

namespace sovs {

const ConvBackend& byte_depthwise_backend();

}  // namespace sovs
