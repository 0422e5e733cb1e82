#include "conv/byte_tuning.h"

#include <algorithm>

namespace sovs {
namespace {

// Of windows that cut a tile into `count`.
std::int64_t even_width(const TensorDesc& output, std::int64_t count) {
    return output.whole_lines((output.pitch() + count - 1) / count);
}

}  // namespace

std::int64_t tuned_width(const Tuning& tuning, const TensorDesc& output, std::int64_t chosen, std::int64_t most) {
    return tuning.tile_cols > 0 ? std::clamp(output.whole_lines(tuning.tile_cols), output.line(), most) : chosen;
}

std::vector<Tuning> width_candidates(const TensorDesc& output, std::int64_t chosen, std::int64_t most_width,
                                     std::size_t most) {
    std::vector<Tuning> candidates{Tuning{}};
    std::int64_t before = 0;
    for (std::int64_t count = 1; count <= output.pitch() / output.line() && candidates.size() < most; ++count) {
        const std::int64_t width = even_width(output, count);
        const bool same_as_chosen = width == even_width(output, (output.pitch() + chosen - 1) / chosen);
        if (width <= most_width && width != before && !same_as_chosen) {
            candidates.emplace_back();
            candidates.back().tile_cols = width;
        }
        before = width;
    }
    return candidates;
}

Tiling byte_tiling(std::int64_t width, std::int64_t channels, int parts, bool in_place) {
    Tiling tiling{};
    tiling.panel = in_place ? PanelKind::halo : PanelKind::taps;
    tiling.tile_rows = 1;
    tiling.tile_cols = static_cast<std::int32_t>(width);
    tiling.k_tile = channels;
    tiling.row_parts = tiling.stream_parts = parts;
    tiling.in_place = in_place;
    return tiling;
}

}  // namespace sovs
