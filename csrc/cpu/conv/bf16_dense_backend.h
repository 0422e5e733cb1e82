// bf16 convolutions whose weights are all multiplied, zeros too: panels of pairs that lie together.
#pragma once
#include "conv/backend.h"

namespace sovs {

const ConvBackend& bf16_dense_backend();

}  // namespace sovs
