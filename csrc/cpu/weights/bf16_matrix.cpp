#include "weights/bf16_matrix.h"

#include <span>
#include <utility>

#include "base/bf16.h"
#include "weights/all_columns.h"

namespace sovs {
namespace {

// Where a weight lies. key: input channel * taps + tap.
std::int64_t place(const WeightSizes& sizes, const Bf16Blocks& blocks, std::int64_t out_channel, std::int64_t key) {
    const std::int64_t channel = key / sizes.taps(), tap = key % sizes.taps();
    const std::int64_t pair = channel / 2 * sizes.taps() + tap, chunks = pairs_of(sizes, blocks) / blocks.pairs;
    const std::int64_t chunk = out_channel / blocks.rows * chunks + pair / blocks.pairs;
    return ((chunk * blocks.rows + out_channel % blocks.rows) * blocks.pairs + pair % blocks.pairs) * 2 + channel % 2;
}

}  // namespace

Bf16Matrix make_bf16_matrix(const PackedWeights& packed, const Bf16Blocks& blocks) {
    const Structure& s = packed.structure;
    const std::span<const float> numbers = packed.values.f32();
    const std::int64_t block = s.sizes.block.rows, outs = s.sizes.out_channels;
    Bf16Matrix made{blocks, {}};
    made.weights.reserve(
        static_cast<std::size_t>((outs + blocks.rows - 1) / blocks.rows * pairs_of(s.sizes, blocks) * blocks.rows * 2));
    for (std::int64_t row = 0; row < s.sizes.block_row_count(); ++row)
        for (std::int64_t b = s.row_ptr[row]; b < s.row_ptr[row + 1]; ++b)
            for (std::int64_t r = 0; r < block && row * block + r < outs; ++r)
                made.weights.data()[place(s.sizes, blocks, row * block + r, s.keys[b])] =
                    to_bf16(numbers[b * block + r]);
    return made;
}

PackedWeights pack_bf16_matrix(const Bf16Matrix& matrix, const WeightSizes& sizes) {
    Values values(static_cast<std::size_t>(sizes.block_row_count() * sizes.columns() * sizes.block.rows));
    Structure stored = store_all_columns(sizes, values.f32().data(), [&](std::int64_t out_channel, std::int64_t key) {
        return from_bf16(matrix.weights.data()[place(sizes, matrix.blocks, out_channel, key)]);
    });
    return {std::move(stored), std::move(values)};
}

}  // namespace sovs
