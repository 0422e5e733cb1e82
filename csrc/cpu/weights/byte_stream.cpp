#include "weights/byte_stream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <numeric>
#include <type_traits>
#include <utility>

#include "base/bf16.h"
#include "base/error.h"
#include "weights/block_order.h"

namespace sovs {
namespace {

// What entries hold.
struct Quads {
    using Number = std::int8_t;
    static constexpr int kColumns = 4;
    template <int kRows>
    using Entry = ByteEntry<kRows>;

    static std::vector<Number> numbers(const Values& values) { return {values.s8().begin(), values.s8().end()}; }
    static Number stored(Number weight) { return weight; }  // as it is packed
};

struct Pairs {
    using Number = std::uint16_t;
    static constexpr int kColumns = 2;
    template <int kRows>
    using Entry = PairEntry<kRows>;

    static std::vector<Number> numbers(const Values& values) {
        std::vector<Number> rounded;
        for (const float x : values.f32()) rounded.push_back(to_bf16(x));
        return rounded;
    }
    static float stored(Number weight) { return from_bf16(weight); }
};

// A stored column of a block row: where its pixels start in the panel, and its weights.
template <typename Form>
struct Column {
    std::uint16_t line;
    const Form::Number* weights;  // (block rows); null for a column that fills up
};

// Whether 255 times both columns' weights fits in 16 bits, whatever the signs of the rows' sums.
bool fit_in_16_bits(const Column<Quads>& a, const Column<Quads>& b, std::int64_t rows) {
    constexpr int kMost = 128;
    for (std::int64_t r = 0; r < rows; ++r) {
        const int x = a.weights[r], y = b.weights[r];
        if (std::max(x, 0) + std::max(y, 0) > kMost || std::min(x, 0) + std::min(y, 0) < -kMost) return false;
    }
    return true;
}

// The columns in an order in which no pair adds up to too much: neighbours where they may, else one of the next ones, else
// one that fills up.
std::vector<Column<Quads>> in_fitting_pairs(const std::vector<Column<Quads>>& columns, std::int64_t rows) {
    constexpr std::size_t kWaiting = 16;
    std::vector<Column<Quads>> made;
    std::deque<Column<Quads>> waiting;
    const auto leave_alone = [&] {
        made.insert(made.end(), {waiting.front(), {waiting.front().line, nullptr}});
        waiting.pop_front();
    };
    for (const Column<Quads>& column : columns) {
        const auto partner = std::find_if(waiting.begin(), waiting.end(), [&](const Column<Quads>& other) {
            return fit_in_16_bits(other, column, rows);
        });
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

template <typename Form, int kRows>
void write_entry(const Column<Form>* columns, std::byte* to) {
    typename Form::template Entry<kRows> entry{};
    for (int c = 0; c < Form::kColumns; ++c) {
        entry.lines[c] = columns[c].line;
        for (int r = 0; r < kRows && columns[c].weights != nullptr; ++r) entry.weights[r][c] = columns[c].weights[r];
    }
    std::memcpy(to, &entry, sizeof entry);
}

// Four bytes of weights a row.
template <typename Form>
std::size_t entry_bytes(std::int64_t rows) {
    static_assert(Form::kColumns * sizeof(typename Form::Number) == 4);
    return static_cast<std::size_t>(4 * rows) + Form::kColumns * sizeof(std::uint16_t);
}

template <typename Form>
void write_entry(std::int64_t rows, const Column<Form>* columns, std::byte* to) {
    if (rows == 1) return write_entry<Form, 1>(columns, to);
    if (rows == 2) return write_entry<Form, 2>(columns, to);
    write_entry<Form, 4>(columns, to);
}

// The first input channel of a block row's group.
std::int64_t first_channel(const WeightSizes& sizes, std::int64_t row) {
    return row * sizes.block.rows / (sizes.out_channels / sizes.groups) * sizes.in_channels;
}

template <typename Form>
class Maker {
public:
    Maker(const PackedWeights& packed, const ByteStreamLayout& layout)
        : s_(packed.structure), numbers_(Form::numbers(packed.values)), layout_(layout) {
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
        if constexpr (std::is_same_v<Form, Quads>) add_sums();
        return std::move(made_);
    }

private:
    void add_sums() {
        made_.sums.assign(static_cast<std::size_t>(s_.sizes.out_channels), 0);
        const std::int64_t rows = s_.sizes.block.rows;
        for (std::int64_t row = 0; row < s_.sizes.block_row_count(); ++row)
            for (std::int64_t i = s_.row_ptr[row] * rows; i < s_.row_ptr[row + 1] * rows; ++i)
                if (row * rows + i % rows < s_.sizes.out_channels) made_.sums[row * rows + i % rows] += numbers_[i];
    }

    // The stored columns of a block row, in whole entries.
    std::vector<Column<Form>> columns_of(std::int64_t row, std::int64_t channel_begin) const {
        const std::int64_t rows = s_.sizes.block.rows;
        const std::int64_t key_begin = (first_channel(s_.sizes, row) - channel_begin) * s_.sizes.taps();
        std::vector<Column<Form>> columns;
        for (std::int64_t b = s_.row_ptr[row]; b < s_.row_ptr[row + 1]; ++b)
            columns.push_back(
                {static_cast<std::uint16_t>((key_begin + s_.keys[b]) * layout_.column_lines), &numbers_[b * rows]});
        if constexpr (std::is_same_v<Form, Quads>)
            if (layout_.pairs_in_16_bits) columns = in_fitting_pairs(columns, rows);
        while (columns.size() % Form::kColumns != 0) columns.push_back({columns.back().line, nullptr});
        return columns;
    }

    ByteStreamPart make_part(std::int64_t begin, std::int64_t end, std::vector<std::byte>& entries) const {
        ByteStreamPart part{0, 0, {}, {}, entries.size()};
        if (begin == end) return part;
        part.channel_begin = first_channel(s_.sizes, begin);
        part.channel_end = first_channel(s_.sizes, end - 1) + s_.sizes.in_channels;
        require((part.channel_end - part.channel_begin) * s_.sizes.taps() * layout_.column_lines <= kMostPanelLines,
                "expected a panel whose columns 16 bits tell apart");
        std::vector<std::vector<Column<Form>>> columns;
        for (std::int64_t row = begin; row < end; ++row) {
            columns.push_back(columns_of(row, part.channel_begin));
            part.row_ids.push_back(static_cast<std::int32_t>(row));
        }
        std::stable_sort(part.row_ids.begin(), part.row_ids.end(), [&](std::int32_t a, std::int32_t b) {
            return columns[a - begin].size() < columns[b - begin].size();
        });
        const std::size_t bytes = entry_bytes<Form>(s_.sizes.block.rows);
        for (const std::int32_t row : part.row_ids) {
            const std::vector<Column<Form>>& own = columns[row - begin];
            const auto count = static_cast<std::int32_t>(own.size() / Form::kColumns);
            if (part.groups.empty() || part.groups.back().entries != count) part.groups.push_back({count, 0});
            ++part.groups.back().block_rows;
            for (std::size_t c = 0; c < own.size(); c += Form::kColumns) {
                entries.resize(entries.size() + bytes);
                write_entry(s_.sizes.block.rows, &own[c], entries.data() + entries.size() - bytes);
            }
        }
        part.row_ids.insert(part.row_ids.end(), kRowsAhead, part.row_ids.back());
        return part;
    }

    const Structure& s_;
    std::vector<typename Form::Number> numbers_;
    ByteStreamLayout layout_;
    ByteStream made_;
};

template <typename Form>
struct StoredColumn {
    std::uint32_t key;
    std::array<typename Form::Number, 4> weights;  // (block rows)
};

// Calls body(row, column) for each stored column, in the order of the stream.
template <typename Form, typename Body>
void each_column(const ByteStream& stream, const WeightSizes& sizes, Body&& body) {
    const std::int64_t rows = sizes.block.rows;
    for (const ByteStreamPart& part : stream.parts) {
        const std::byte* entry = stream.entries.data() + part.first_byte;
        const std::int32_t* row = part.row_ids.data();
        for (const ByteRowGroup& group : part.groups)
            for (std::int32_t r = 0; r < group.block_rows; ++r, ++row) {
                const std::int64_t key_begin = (first_channel(sizes, *row) - part.channel_begin) * sizes.taps();
                std::int64_t before = -1;
                for (std::int32_t e = 0; e < group.entries; ++e, entry += entry_bytes<Form>(rows))
                    for (int c = 0; c < Form::kColumns; ++c) {
                        std::uint16_t line;
                        std::memcpy(&line, entry + 4 * rows + c * sizeof line, sizeof line);
                        if (std::exchange(before, line) == line) continue;  // it fills up
                        const std::int64_t key = line / stream.layout.column_lines - key_begin;
                        StoredColumn<Form> column{static_cast<std::uint32_t>(key), {}};
                        constexpr std::size_t kNumber = sizeof(typename Form::Number);
                        for (std::size_t i = 0; i < column.weights.size() && static_cast<std::int64_t>(i) < rows; ++i)
                            std::memcpy(&column.weights[i], entry + 4 * i + c * kNumber, kNumber);
                        body(*row, column);
                    }
            }
    }
}

template <typename Form>
PackedWeights pack(const ByteStream& stream, const WeightSizes& sizes, const ValuesView& like) {
    using Stored = StoredColumn<Form>;
    Structure s{sizes, std::vector<std::int64_t>(sizes.block_row_count() + 1, 0), {}};
    each_column<Form>(stream, sizes, [&](std::int64_t row, const Stored&) { ++s.row_ptr[row + 1]; });
    std::partial_sum(s.row_ptr.begin(), s.row_ptr.end(), s.row_ptr.begin());
    std::vector<Stored> columns(static_cast<std::size_t>(s.row_ptr.back()));
    std::vector<std::int64_t> next(s.row_ptr.begin(), s.row_ptr.end() - 1);
    each_column<Form>(stream, sizes, [&](std::int64_t row, const Stored& column) { columns[next[row]++] = column; });
    for (std::int64_t row = 0; row < sizes.block_row_count(); ++row)
        std::sort(columns.begin() + s.row_ptr[row], columns.begin() + s.row_ptr[row + 1],
                  [](const Stored& a, const Stored& b) { return a.key < b.key; });
    const std::int64_t rows = sizes.block.rows;
    Values values(columns.size() * static_cast<std::size_t>(rows), like, sizes.out_channels);
    std::byte* to = values.data();
    s.keys.reserve(columns.size());
    for (const Stored& column : columns) {
        for (std::int64_t r = 0; r < rows; ++r, to += size_of(like.dtype)) {
            const auto number = Form::stored(column.weights[r]);
            std::memcpy(to, &number, sizeof number);
        }
        s.keys.push_back(column.key);
    }
    return {std::move(s), std::move(values)};
}

}  // namespace

std::size_t ByteStream::bytes() const {
    std::size_t total = entries.bytes() + sums.size() * sizeof(std::int64_t);
    for (const ByteStreamPart& part : parts)
        total += part.groups.size() * sizeof(ByteRowGroup) + part.row_ids.size() * sizeof(std::int32_t);
    return total;
}

ByteStream make_byte_stream(const PackedWeights& packed, const ByteStreamLayout& layout) {
    if (packed.values.dtype() == DType::s8) return Maker<Quads>(packed, layout).make();
    return Maker<Pairs>(packed, layout).make();
}

PackedWeights pack_byte_stream(const ByteStream& stream, const WeightSizes& sizes, const float* scales) {
    if (scales != nullptr) return pack<Quads>(stream, sizes, {DType::s8, nullptr, scales});
    return pack<Pairs>(stream, sizes, {DType::f32, nullptr});
}

}  // namespace sovs
