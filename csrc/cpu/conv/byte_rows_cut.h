// How int8 and bf16 convolutions by gathered rows are cut into windows and parts.
#pragma once
#include <cstdint>
#include <vector>

#include "conv/backend.h"
#include "weights/conv_shape.h"

namespace sovs {

struct RowsCut {
    bool in_place;  // the panel is the input's own tile
    std::int64_t width;
    int parts;
};

RowsCut choose_rows_cut(const ConvCase& conv, const ConvShape& shape, const Tuning& tuning, int threads);

// See ConvBackend::candidates.
std::vector<Tuning> rows_candidates(const ConvCase& conv, std::size_t most);

}  // namespace sovs
