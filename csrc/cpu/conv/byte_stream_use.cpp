#include "conv/byte_stream_use.h"

#include <numeric>

namespace sovs {

std::vector<std::int32_t> all_taps(const WeightSizes& sizes) {
    std::vector<std::int32_t> taps(static_cast<std::size_t>(sizes.taps()));
    std::iota(taps.begin(), taps.end(), 0);
    return taps;
}

std::vector<std::int32_t> used_taps(const Weights& weights) {
    const auto taps = static_cast<std::uint32_t>(weights.sizes().taps());
    std::vector<bool> used(taps, false);
    const std::shared_ptr<const PackedWeights> packed = weights.packed();
    for (const std::uint32_t key : packed->structure.keys) used[key % taps] = true;
    std::vector<std::int32_t> listed;
    for (std::uint32_t tap = 0; tap < taps; ++tap)
        if (used[tap]) listed.push_back(static_cast<std::int32_t>(tap));
    return listed;
}

ByteStreamLayout shared_layout(const Weights& weights, const ByteStreamLayout& wanted) {
    if (!weights.held_once()) return wanted;
    for (const ByteStreamLayout& live : weights.live_byte_streams())
        if (live.column_lines == wanted.column_lines && live.pairs_in_16_bits == wanted.pairs_in_16_bits) return live;
    return wanted;
}

}  // namespace sovs
