#include "weights/byte_stream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <numeric>
#include <span>
#include <utility>

#include "base/error.h"
#include "weights/block_order.h"

namespace sovs {
namespace {

// A stored column of a block row: where its pixels start in the panel, and its weights.
struct Column {
    std::uint16_t line;
    const std::int8_t* weights;  // (block rows); null for a column that fills up
};

// Whether 255 times both columns' weights fits in 16 bits, whatever the signs of the rows' sums.
bool fit_in_16_bits(const Column& a, const Column& b, std::int64_t rows) {
    constexpr int kMost = 128;
    for (std::int64_t r = 0; r < rows; ++r) {
        const int x = a.weights[r], y = b.weights[r];
        if (std::max(x, 0) + std::max(y, 0) > kMost || std::min(x, 0) + std::min(y, 0) < -kMost) return false;
    }
    return true;
}

// The columns in an order in which no pair adds up to too much: neighbours where they may, else one of the next ones, else
// one that fills up.
std::vector<Column> in_fitting_pairs(const std::vector<Column>& columns, std::int64_t rows) {
    constexpr std::size_t kWaiting = 16;
    std::vector<Column> made;
    std::deque<Column> waiting;
    const auto leave_alone = [&] {
        made.insert(made.end(), {waiting.front(), {waiting.front().line, nullptr}});
        waiting.pop_front();
    };
    for (const Column& column : columns) {
        const auto partner = std::find_if(waiting.begin(), waiting.end(),
                                          [&](const Column& other) { return fit_in_16_bits(other, column, rows); });
        if (partner == waiting.end()) {
            waiting.push_back(column);
            if (waiting.size() > kWaiting) leave_alone();
            continue;
        }
        made.insert(made.end(), {*partner, column});
        waiting.erase(partner);
    }
    while (!waiting.empty()) leave_alone();
    return made;
}

template <int kRows>
void write_entry(const Column* columns, std::byte* to) {
    ByteEntry<kRows> entry{};
    for (int c = 0; c < 4; ++c) {
        entry.lines[c] = columns[c].line;
        for (int r = 0; r < kRows && columns[c].weights != nullptr; ++r) entry.weights[r][c] = columns[c].weights[r];
    }
    std::memcpy(to, &entry, sizeof entry);
}

std::size_t entry_bytes(std::int64_t rows) { return static_cast<std::size_t>(4 * rows) + 4 * sizeof(std::uint16_t); }

void write_entry(std::int64_t rows, const Column* columns, std::byte* to) {
    if (rows == 1) return write_entry<1>(columns, to);
    if (rows == 2) return write_entry<2>(columns, to);
    write_entry<4>(columns, to);
}

// The first input channel of a block row's group.
std::int64_t first_channel(const WeightSizes& sizes, std::int64_t row) {
    return row * sizes.block.rows / (sizes.out_channels / sizes.groups) * sizes.in_channels;
}

class Maker {
public:
    Maker(const PackedWeights& packed, const ByteStreamLayout& layout)
        : s_(packed.structure), numbers_(packed.values.s8()), layout_(layout) {
        made_.layout = layout;
    }

    ByteStream make() {
        const std::vector<std::int32_t> part_of = split_rows(s_, layout_.parts);
        std::vector<std::byte> entries;
        for (int part = 0; part < layout_.parts; ++part) {
            const auto begin = std::lower_bound(part_of.begin(), part_of.end(), part) - part_of.begin();
            const auto end = std::upper_bound(part_of.begin(), part_of.end(), part) - part_of.begin();
            made_.parts.push_back(make_part(begin, end, entries));
        }
        made_.entries.reserve(entries.size() + 1);
        std::copy(entries.begin(), entries.end(), made_.entries.data());
        made_.sums.assign(static_cast<std::size_t>(s_.sizes.out_channels), 0);
        const std::int64_t rows = s_.sizes.block.rows;
        for (std::int64_t row = 0; row < s_.sizes.block_row_count(); ++row)
            for (std::int64_t i = s_.row_ptr[row] * rows; i < s_.row_ptr[row + 1] * rows; ++i)
                if (row * rows + i % rows < s_.sizes.out_channels) made_.sums[row * rows + i % rows] += numbers_[i];
        return std::move(made_);
    }

private:
    // The stored columns of a block row, in whole quads.
    std::vector<Column> columns_of(std::int64_t row, std::int64_t channel_begin) const {
        const std::int64_t rows = s_.sizes.block.rows;
        const std::int64_t key_begin = (first_channel(s_.sizes, row) - channel_begin) * s_.sizes.taps();
        std::vector<Column> columns;
        for (std::int64_t b = s_.row_ptr[row]; b < s_.row_ptr[row + 1]; ++b)
            columns.push_back(
                {static_cast<std::uint16_t>((key_begin + s_.keys[b]) * layout_.column_lines), &numbers_[b * rows]});
        if (layout_.pairs_in_16_bits) columns = in_fitting_pairs(columns, rows);
        while (columns.size() % 4 != 0) columns.push_back({columns.back().line, nullptr});
        return columns;
    }

    ByteStreamPart make_part(std::int64_t begin, std::int64_t end, std::vector<std::byte>& entries) const {
        ByteStreamPart part{0, 0, {}, {}, entries.size()};
        if (begin == end) return part;
        part.channel_begin = first_channel(s_.sizes, begin);
        part.channel_end = first_channel(s_.sizes, end - 1) + s_.sizes.in_channels;
        require((part.channel_end - part.channel_begin) * s_.sizes.taps() * layout_.column_lines <= kMostPanelLines,
                "expected a panel whose columns 16 bits tell apart");
        std::vector<std::vector<Column>> columns;
        for (std::int64_t row = begin; row < end; ++row) {
            columns.push_back(columns_of(row, part.channel_begin));
            part.row_ids.push_back(static_cast<std::int32_t>(row));
        }
        std::stable_sort(part.row_ids.begin(), part.row_ids.end(), [&](std::int32_t a, std::int32_t b) {
            return columns[a - begin].size() < columns[b - begin].size();
        });
        const std::size_t bytes = entry_bytes(s_.sizes.block.rows);
        for (const std::int32_t row : part.row_ids) {
            const std::vector<Column>& quads = columns[row - begin];
            const auto count = static_cast<std::int32_t>(quads.size() / 4);
            if (part.groups.empty() || part.groups.back().entries != count) part.groups.push_back({count, 0});
            ++part.groups.back().block_rows;
            for (std::size_t c = 0; c < quads.size(); c += 4) {
                entries.resize(entries.size() + bytes);
                write_entry(s_.sizes.block.rows, &quads[c], entries.data() + entries.size() - bytes);
            }
        }
        part.row_ids.insert(part.row_ids.end(), kRowsAhead, part.row_ids.back());
        return part;
    }

    const Structure& s_;
    std::span<const std::int8_t> numbers_;
    ByteStreamLayout layout_;
    ByteStream made_;
};

struct StoredColumn {
    std::uint32_t key;
    std::array<std::int8_t, 4> weights;  // (block rows)
};

// Calls body(row, column) for each stored column, in the order of the stream.
template <typename Body>
void each_column(const ByteStream& stream, const WeightSizes& sizes, Body&& body) {
    const std::int64_t rows = sizes.block.rows;
    for (const ByteStreamPart& part : stream.parts) {
        const std::byte* entry = stream.entries.data() + part.first_byte;
        const std::int32_t* row = part.row_ids.data();
        for (const ByteRowGroup& group : part.groups)
            for (std::int32_t r = 0; r < group.block_rows; ++r, ++row) {
                const std::int64_t key_begin = (first_channel(sizes, *row) - part.channel_begin) * sizes.taps();
                std::int64_t before = -1;
                for (std::int32_t e = 0; e < group.entries; ++e, entry += entry_bytes(rows))
                    for (int c = 0; c < 4; ++c) {
                        std::uint16_t line;
                        std::memcpy(&line, entry + 4 * rows + c * sizeof line, sizeof line);
                        if (std::exchange(before, line) == line) continue;  // it fills up
                        const std::int64_t key = line / stream.layout.column_lines - key_begin;
                        StoredColumn column{static_cast<std::uint32_t>(key), {}};
                        for (std::int64_t i = 0; i < rows; ++i)
                            column.weights[i] = static_cast<std::int8_t>(entry[4 * i + c]);
                        body(*row, column);
                    }
            }
    }
}

}  // namespace

std::size_t ByteStream::bytes() const {
    std::size_t total = entries.bytes() + sums.size() * sizeof(std::int64_t);
    for (const ByteStreamPart& part : parts)
        total += part.groups.size() * sizeof(ByteRowGroup) + part.row_ids.size() * sizeof(std::int32_t);
    return total;
}

ByteStream make_byte_stream(const PackedWeights& packed, const ByteStreamLayout& layout) {
    return Maker(packed, layout).make();
}

PackedWeights pack_byte_stream(const ByteStream& stream, const WeightSizes& sizes, const float* scales) {
    Structure s{sizes, std::vector<std::int64_t>(sizes.block_row_count() + 1, 0), {}};
    each_column(stream, sizes, [&](std::int64_t row, const StoredColumn&) { ++s.row_ptr[row + 1]; });
    std::partial_sum(s.row_ptr.begin(), s.row_ptr.end(), s.row_ptr.begin());
    std::vector<StoredColumn> columns(static_cast<std::size_t>(s.row_ptr.back()));
    std::vector<std::int64_t> next(s.row_ptr.begin(), s.row_ptr.end() - 1);
    each_column(stream, sizes, [&](std::int64_t row, const StoredColumn& column) { columns[next[row]++] = column; });
    for (std::int64_t row = 0; row < sizes.block_row_count(); ++row)
        std::sort(columns.begin() + s.row_ptr[row], columns.begin() + s.row_ptr[row + 1],
                  [](const StoredColumn& a, const StoredColumn& b) { return a.key < b.key; });
    const std::int64_t rows = sizes.block.rows;
    Values values(columns.size() * static_cast<std::size_t>(rows), {DType::s8, nullptr, scales}, sizes.out_channels);
    s.keys.reserve(columns.size());
    for (const StoredColumn& column : columns) {
        std::memcpy(values.data() + static_cast<std::int64_t>(s.keys.size()) * rows, column.weights.data(),
                    static_cast<std::size_t>(rows));
        s.keys.push_back(column.key);
    }
    return {std::move(s), std::move(values)};
}

}  // namespace sovs
