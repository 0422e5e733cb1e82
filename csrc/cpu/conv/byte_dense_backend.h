// int8 convolutions whose weights are all stored: panels of quads that lie together.
#pragma once
#include "conv/backend.h"

namespace sovs {

const ConvBackend& byte_dense_backend();

}  // namespace sovs
