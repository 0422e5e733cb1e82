// A layer's weights in the compact form that all other forms are made of.
#pragma once
#include <cstddef>

#include "weights/structure.h"
#include "weights/values.h"

namespace sovs {

struct PackedWeights {
    Structure structure;
    Values values;  // (blocks, block.rows)

    std::size_t bytes() const { return structure.bytes() + values.bytes(); }
};

}  // namespace sovs
