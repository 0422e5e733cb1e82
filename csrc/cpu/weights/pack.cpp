#include "weights/pack.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace sovs {
namespace {

void check_sizes(const Weights::Packed& p) {
    require(p.out_channels > 0 && p.in_channels > 0 && p.kernel_h > 0 && p.kernel_w > 0 && p.groups > 0,
            "expected weight sizes of at least 1");
    require(p.block_rows == 1 || p.block_rows == 4, "expected block_rows of 1 or 4");
    require(p.out_channels % p.groups == 0, "expected out_channels to be a multiple of groups");
    require(p.groups == 1 || p.out_channels / p.groups % p.block_rows == 0,
            "expected the output channels of a group to be a multiple of block_rows");
    const double columns = static_cast<double>(p.in_channels) * p.kernel_h * p.kernel_w;
    require(columns < std::numeric_limits<std::int32_t>::max() && p.out_channels < std::numeric_limits<std::int32_t>::max(),
            "expected fewer than 2**31 rows and columns");
}

}  // namespace

Weights::Packed pack_sparse(const sovs_weights_desc& d) {
    Weights::Packed p{d.out_channels, d.in_channels, d.kernel_h, d.kernel_w, d.groups, d.block_rows, {}, {}, {}};
    check_sizes(p);
    require(d.index_bits == 16 || d.index_bits == 32, "expected index_bits of 16 or 32");
    require(d.row_ptr != nullptr, "expected row_ptr, got NULL");
    const std::int64_t rows = (p.out_channels + p.block_rows - 1) / p.block_rows;
    p.row_ptr.assign(d.row_ptr, d.row_ptr + rows + 1);
    require(p.row_ptr.front() == 0 && std::is_sorted(p.row_ptr.begin(), p.row_ptr.end()),
            "expected row_ptr to start at 0 and never to fall");
    const std::int64_t blocks = p.row_ptr.back();
    require(blocks == 0 || (d.indices != nullptr && d.values != nullptr), "expected indices and values, got NULL");

    const std::int64_t columns = p.in_channels * p.kernel_h * p.kernel_w, taps = p.kernel_h * p.kernel_w;
    const auto column = [&](std::int64_t block) -> std::int64_t {
        return d.index_bits == 16 ? static_cast<const std::uint16_t*>(d.indices)[block]
                                  : static_cast<const std::int32_t*>(d.indices)[block];
    };
    p.keys.resize(blocks);
    p.values.resize(blocks * p.block_rows);
    std::vector<std::pair<std::uint32_t, std::int64_t>> row;  // key, block
    for (std::int64_t r = 0; r < rows; ++r) {
        row.clear();
        for (std::int64_t block = p.row_ptr[r]; block < p.row_ptr[r + 1]; ++block) {
            const std::int64_t k = column(block);
            require(k >= 0 && k < columns, "expected indices inside the flattened weight");
            row.emplace_back(static_cast<std::uint32_t>(k % p.in_channels * taps + k / p.in_channels), block);
        }
        if (taps > 1) std::sort(row.begin(), row.end());
        for (std::size_t i = 0; i < row.size(); ++i) {
            require(i == 0 || row[i - 1].first < row[i].first, "expected ascending indices, each once in a row");
            const std::int64_t to = p.row_ptr[r] + static_cast<std::int64_t>(i);
            p.keys[to] = row[i].first;
            std::copy_n(d.values + row[i].second * p.block_rows, p.block_rows, &p.values[to * p.block_rows]);
        }
    }
    return p;
}

Weights::Packed pack_dense(Weights::Packed p, const float* weight) {
    require(p.groups > 0, "expected groups of at least 1");
    p.block_rows = p.groups == 1 || p.out_channels / p.groups % 4 == 0 ? 4 : 1;
    check_sizes(p);
    const std::int64_t rows = (p.out_channels + p.block_rows - 1) / p.block_rows;
    const std::int64_t columns = p.in_channels * p.kernel_h * p.kernel_w;
    p.row_ptr.resize(rows + 1);
    for (std::int64_t r = 0; r <= rows; ++r) p.row_ptr[r] = r * columns;
    p.keys.resize(rows * columns);
    p.values.assign(rows * columns * p.block_rows, 0.0f);
    for (std::int64_t r = 0; r < rows; ++r) {
        std::iota(p.keys.begin() + r * columns, p.keys.begin() + (r + 1) * columns, 0u);
        for (std::int64_t b = 0; b < p.block_rows && r * p.block_rows + b < p.out_channels; ++b)
            for (std::int64_t k = 0; k < columns; ++k)
                p.values[(r * columns + k) * p.block_rows + b] = weight[(r * p.block_rows + b) * columns + k];
    }
    return p;
}

Weights::Packed transpose(const Weights::Packed& p) {
    const std::int64_t taps = p.taps(), group_out = p.out_channels / p.groups, rows = p.groups * p.in_channels;
    Weights::Packed t{rows, group_out, p.kernel_h, p.kernel_w, p.groups, 1, {}, {}, {}};
    check_sizes(t);
    t.row_ptr.assign(rows + 1, 0);
    // Calls body(row, key, value) for every weight, output channels in ascending order.
    const auto each = [&](auto&& body) {
        for (std::int64_t row = 0; row < p.block_row_count(); ++row)
            for (std::int64_t r = 0; r < p.block_rows && row * p.block_rows + r < p.out_channels; ++r) {
                const std::int64_t out = row * p.block_rows + r, group = out / group_out;
                for (std::int64_t b = p.row_ptr[row]; b < p.row_ptr[row + 1]; ++b) {
                    const std::int64_t channel = p.keys[b] / taps, tap = p.keys[b] % taps;
                    const std::int64_t key = out % group_out * taps + taps - 1 - tap;
                    body(group * p.in_channels + channel, static_cast<std::uint32_t>(key), p.values[b * p.block_rows + r]);
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
    for (const auto& [key, value] : found) {
        t.keys.push_back(key);
        t.values.push_back(value);
    }
    return t;
}

}  // namespace sovs
