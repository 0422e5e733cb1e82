// A depthwise convolution of stride 1: each channel's rows in a padded plane, over which every tap is an offset.
#pragma once
#include "conv/backend.h"

namespace sovs {

const ConvBackend& depthwise_backend();

}  // namespace sovs
