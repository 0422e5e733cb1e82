#include "weights/pack.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "base/error.h"

namespace sovs {
namespace {

// Spreads a dense weight to blocks that hold every key; rows past the last output channel stay zero.
template <typename Number>
void fill_blocks(const WeightSizes& sizes, const Number* weight, Number* values) {
    const std::int64_t rows = sizes.block.rows, columns = sizes.columns();
    for (std::int64_t out = 0; out < sizes.out_channels; ++out)
        for (std::int64_t k = 0; k < columns; ++k)
            values[(out / rows * columns + k) * rows + out % rows] = weight[out * columns + k];
}

}  // namespace

PackedWeights pack_sparse(const TapMajorWeights& w) {
    const WeightSizes& sizes = w.sizes;
    check_sizes(sizes);
    require(w.index_bits == 16 || w.index_bits == 32, "expected index_bits of 16 or 32");
    require(w.row_ptr != nullptr, "expected row_ptr, got NULL");
    const std::int64_t rows = sizes.block_row_count(), columns = sizes.columns(), taps = sizes.taps();
    Structure s{sizes, {w.row_ptr, w.row_ptr + rows + 1}, {}};
    require(s.row_ptr.front() == 0 && std::is_sorted(s.row_ptr.begin(), s.row_ptr.end()),
            "expected row_ptr to start at 0 and never to fall");
    const std::int64_t blocks = s.row_ptr.back();
    require(blocks == 0 || (w.indices != nullptr && w.values.numbers != nullptr),
            "expected indices and values, got NULL");

    const auto column = [&](std::int64_t block) -> std::int64_t {
        return w.index_bits == 16 ? static_cast<const std::uint16_t*>(w.indices)[block]
                                  : static_cast<const std::int32_t*>(w.indices)[block];
    };
    s.keys.resize(blocks);
    Values values(static_cast<std::size_t>(blocks * sizes.block.weights()), w.values, sizes.out_channels);
    require(sizes.block.rows != 2 || values.dtype() == DType::s8, "expected s8 weights in blocks of 2x1");
    const std::size_t block_bytes = static_cast<std::size_t>(sizes.block.weights()) * size_of(values.dtype());
    const auto* numbers = static_cast<const std::byte*>(w.values.numbers);
    std::vector<std::pair<std::uint32_t, std::int64_t>> row;  // key, block
    for (std::int64_t r = 0; r < rows; ++r) {
        row.clear();
        for (std::int64_t block = s.row_ptr[r]; block < s.row_ptr[r + 1]; ++block) {
            const std::int64_t k = column(block);
            require(k >= 0 && k < columns, "expected indices inside the flattened weight");
            row.emplace_back(static_cast<std::uint32_t>(k % sizes.in_channels * taps + k / sizes.in_channels), block);
        }
        if (taps > 1) std::sort(row.begin(), row.end());
        for (std::size_t i = 0; i < row.size(); ++i) {
            require(i == 0 || row[i - 1].first < row[i].first, "expected ascending indices, each once in a row");
            const std::int64_t to = s.row_ptr[r] + static_cast<std::int64_t>(i);
            s.keys[to] = row[i].first;
            std::memcpy(values.data() + to * block_bytes, numbers + row[i].second * block_bytes, block_bytes);
        }
    }
    return {std::move(s), std::move(values)};
}

PackedWeights pack_dense(WeightSizes sizes, const ValuesView& weight) {
    require(sizes.groups > 0, "expected groups of at least 1");
    sizes.block = {sizes.groups == 1 || sizes.out_channels / sizes.groups % 4 == 0 ? 4 : 1, 1};
    check_sizes(sizes);
    const std::int64_t rows = sizes.block_row_count(), columns = sizes.columns();
    Structure s{sizes, std::vector<std::int64_t>(rows + 1), std::vector<std::uint32_t>(rows * columns)};
    for (std::int64_t r = 0; r <= rows; ++r) s.row_ptr[r] = r * columns;
    for (std::int64_t r = 0; r < rows; ++r)
        std::iota(s.keys.begin() + r * columns, s.keys.begin() + (r + 1) * columns, 0u);
    Values values(s.keys.size() * static_cast<std::size_t>(sizes.block.weights()), weight, sizes.out_channels);
    if (values.dtype() == DType::f32)
        fill_blocks(sizes, static_cast<const float*>(weight.numbers), values.f32().data());
    else
        fill_blocks(sizes, static_cast<const std::byte*>(weight.numbers), values.data());
    return {std::move(s), std::move(values)};
}

PackedWeights transpose(const PackedWeights& packed) {
    const Structure& p = packed.structure;
    const std::span<const float> numbers = packed.values.f32();
    const std::int64_t taps = p.sizes.taps(), block_rows = p.sizes.block.rows, in_channels = p.sizes.in_channels;
    const std::int64_t group_out = p.sizes.out_channels / p.sizes.groups, rows = p.sizes.groups * in_channels;
    Structure t{{rows, group_out, p.sizes.kernel_h, p.sizes.kernel_w, p.sizes.groups}, {}, {}};
    check_sizes(t.sizes);
    t.row_ptr.assign(rows + 1, 0);
    // Calls body(row, key, value) for every weight, output channels in ascending order.
    const auto each = [&](auto&& body) {
        for (std::int64_t row = 0; row < p.sizes.block_row_count(); ++row)
            for (std::int64_t r = 0; r < block_rows && row * block_rows + r < p.sizes.out_channels; ++r) {
                const std::int64_t out = row * block_rows + r, group = out / group_out;
                for (std::int64_t b = p.row_ptr[row]; b < p.row_ptr[row + 1]; ++b) {
                    const std::int64_t channel = p.keys[b] / taps, tap = p.keys[b] % taps;
                    const std::int64_t key = out % group_out * taps + taps - 1 - tap;
                    body(group * in_channels + channel, static_cast<std::uint32_t>(key), numbers[b * block_rows + r]);
                }
            }
    };
    each([&](std::int64_t row, std::uint32_t, float) { ++t.row_ptr[row + 1]; });
    std::partial_sum(t.row_ptr.begin(), t.row_ptr.end(), t.row_ptr.begin());
    std::vector<std::pair<std::uint32_t, float>> found(t.row_ptr.back());
    std::vector<std::int64_t> next(t.row_ptr.begin(), t.row_ptr.end() - 1);
    each([&](std::int64_t row, std::uint32_t key, float value) { found[next[row]++] = {key, value}; });
    for (std::int64_t row = 0; row < rows; ++row)
        std::sort(found.begin() + t.row_ptr[row], found.begin() + t.row_ptr[row + 1],
                  [](const auto& a, const auto& b) { return a.first < b.first; });
    Values values(found.size());
    const std::span<float> to = values.f32();
    t.keys.reserve(found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
        t.keys.push_back(found[i].first);
        to[i] = found[i].second;
    }
    return {std::move(t), std::move(values)};
}

void unpack(const PackedWeights& packed, float* dense) {
    const Structure& s = packed.structure;
    const std::int64_t columns = s.sizes.columns(), rows = s.sizes.block.rows;
    std::fill_n(dense, s.sizes.out_channels * columns, 0.0f);
    const auto each = [&](auto&& weight) {
        for (std::int64_t row = 0; row < s.sizes.block_row_count(); ++row)
            for (std::int64_t b = s.row_ptr[row]; b < s.row_ptr[row + 1]; ++b)
                for (std::int64_t r = 0; r < rows && row * rows + r < s.sizes.out_channels; ++r)
                    dense[(row * rows + r) * columns + s.keys[b]] = weight(b * rows + r, row * rows + r);
    };
    if (packed.values.dtype() == DType::s8)
        each([numbers = packed.values.s8(), &scales = packed.values.scales()](std::int64_t at, std::int64_t channel) {
            return static_cast<float>(numbers[at]) * scales[channel];
        });
    else
        each([numbers = packed.values.f32()](std::int64_t at, std::int64_t) { return numbers[at]; });
}

}  // namespace sovs
