#include "weights/byte_quads.h"

#include <span>
#include <utility>

#include "weights/all_columns.h"

namespace sovs {
namespace {

// Where a weight lies. key: input channel * taps + tap.
std::int64_t place(const WeightSizes& sizes, int rows, std::int64_t out_channel, std::int64_t key) {
    const std::int64_t channel = key / sizes.taps(), tap = key % sizes.taps();
    const std::int64_t quad = channel / 4 * sizes.taps() + tap;
    return ((out_channel / rows * quads_of(sizes) + quad) * rows + out_channel % rows) * 4 + channel % 4;
}

}  // namespace

ByteQuads make_byte_quads(const PackedWeights& packed, int rows) {
    const Structure& s = packed.structure;
    const std::span<const std::int8_t> numbers = packed.values.s8();
    const std::int64_t block = s.sizes.block.rows, outs = s.sizes.out_channels;
    ByteQuads made{rows, {}, std::vector<std::int64_t>(static_cast<std::size_t>(outs), 0)};
    made.weights.reserve(static_cast<std::size_t>((outs + rows - 1) / rows * quads_of(s.sizes) * rows * 4));
    for (std::int64_t row = 0; row < s.sizes.block_row_count(); ++row)
        for (std::int64_t b = s.row_ptr[row]; b < s.row_ptr[row + 1]; ++b)
            for (std::int64_t r = 0; r < block && row * block + r < outs; ++r) {
                const std::int8_t number = numbers[b * block + r];
                made.weights.data()[place(s.sizes, rows, row * block + r, s.keys[b])] = number;
                made.sums[row * block + r] += number;
            }
    return made;
}

PackedWeights pack_byte_quads(const ByteQuads& quads, const WeightSizes& sizes, const float* scales) {
    const std::int64_t numbers = sizes.block_row_count() * sizes.columns() * sizes.block.rows;
    Values values(static_cast<std::size_t>(numbers), {DType::s8, nullptr, scales}, sizes.out_channels);
    auto* const to = reinterpret_cast<std::int8_t*>(values.data());
    Structure stored = store_all_columns(sizes, to, [&](std::int64_t out_channel, std::int64_t key) {
        return quads.weights.data()[place(sizes, quads.rows, out_channel, key)];
    });
    return {std::move(stored), std::move(values)};
}

}  // namespace sovs
