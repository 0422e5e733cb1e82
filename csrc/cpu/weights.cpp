#include "weights.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "error.h"

namespace sovs {
namespace {

// Splits the block rows in contiguous parts of about equal work; the constant stands for a row's start and finish.
std::vector<std::int32_t> split_rows(const Weights::Packed& packed, int parts) {
    constexpr std::int64_t kRowCost = 4;
    const std::int64_t rows = static_cast<std::int64_t>(packed.row_ptr.size()) - 1;
    const std::int64_t total = packed.row_ptr.back() + kRowCost * rows;
    std::vector<std::int32_t> part_of(rows);
    for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t middle = (packed.row_ptr[row] + packed.row_ptr[row + 1]) / 2 + kRowCost * row;
        part_of[row] = static_cast<std::int32_t>(std::min<std::int64_t>(parts - 1, middle * parts / std::max<std::int64_t>(1, total)));
    }
    return part_of;
}

}  // namespace

std::size_t Stream::bytes() const {
    return entries.bytes() + offsets.bytes() + weights.bytes() + groups.size() * sizeof(RowGroup) +
           row_ids.size() * sizeof(std::int32_t);
}

Weights::Weights(Packed packed, const float* bias) : packed_(std::move(packed)) {
    // Kernels read it in whole block rows and whole pairs of vectors.
    constexpr std::int64_t kPair = 2 * 16;
    bias_.reserve(static_cast<std::size_t>((packed_.out_channels + kPair - 1) / kPair * kPair));
    if (bias != nullptr) std::copy_n(bias, packed_.out_channels, bias_.data());
}

double Weights::density() const {
    const double all = static_cast<double>(packed_.out_channels) * packed_.in_channels * packed_.kernel_h * packed_.kernel_w;
    return all == 0 ? 0.0 : static_cast<double>(packed_.values.size()) / all;
}

std::shared_ptr<const Stream> Weights::stream(const PanelLayout& layout, std::int64_t k_tile, int parts) const {
    const StreamKey key{layout.tap_offsets, layout.channel_stride, k_tile, parts};
    {
        std::lock_guard<std::mutex> lock(mutex_);
        const auto found = streams_.find(key);
        if (found != streams_.end())
            if (auto known = found->second.lock()) return known;
    }
    // Outside the lock: expanding takes milliseconds. Two threads may do it at once; the streams are equal.
    auto made = expand(layout, k_tile, parts);
    std::lock_guard<std::mutex> lock(mutex_);
    std::erase_if(streams_, [](const auto& item) { return item.second.expired(); });
    streams_[key] = made;
    return made;
}

std::shared_ptr<const Stream> Weights::expand(const PanelLayout& layout, std::int64_t k_tile, int parts) const {
    const std::int64_t taps = packed_.kernel_h * packed_.kernel_w;
    require((k_tile - 1) * layout.channel_stride + *std::max_element(layout.tap_offsets.begin(), layout.tap_offsets.end()) <
                std::numeric_limits<std::int32_t>::max() / 4,
            "expected a K-tile whose panel offsets fit in 32 bits");
    const std::int64_t rows = block_row_count();
    const std::int64_t group_rows = rows / packed_.groups;
    const std::vector<std::int32_t> part_of = split_rows(packed_, parts);

    auto stream = std::make_shared<Stream>();
    for (int part = 0; part <= parts; ++part)
        stream->part_begin.push_back(static_cast<std::int32_t>(
            std::lower_bound(part_of.begin(), part_of.end(), part) - part_of.begin()));
    const std::size_t blocks = packed_.keys.size();
    const bool fours = packed_.block_rows == 4;
    if (fours)
        stream->weights.reserve(blocks * 4 + 1);
    else
        stream->entries.reserve(blocks + 1);
    std::vector<std::int32_t> offsets;
    std::int64_t written = 0;  // blocks

    std::vector<std::int64_t> next(packed_.row_ptr.begin(), packed_.row_ptr.end() - 1);  // first unread block by row
    std::vector<std::int32_t> count(rows);
    std::vector<std::int32_t> order;
    for (std::int64_t g = 0; g < packed_.groups; ++g) {
        for (std::int64_t begin = 0; begin < packed_.in_channels; begin += k_tile) {
            const std::int64_t end = std::min(packed_.in_channels, begin + k_tile);
            KTile tile{g * packed_.in_channels + begin, g * packed_.in_channels + end, begin == 0,
                       end == packed_.in_channels, {}};
            const std::uint32_t key_begin = static_cast<std::uint32_t>(begin * taps);
            const auto key_end = static_cast<std::uint32_t>(end * taps);
            std::int32_t full = static_cast<std::int32_t>((end - begin) * taps);
            bool all_full = fours;
            order.resize(group_rows);
            std::iota(order.begin(), order.end(), static_cast<std::int32_t>(g * group_rows));
            for (const std::int32_t row : order) {
                std::int64_t stop = next[row];
                while (stop < packed_.row_ptr[row + 1] && packed_.keys[stop] < key_end) ++stop;
                count[row] = static_cast<std::int32_t>(stop - next[row]);
                all_full = all_full && count[row] == full;
            }
            std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
                return std::pair(part_of[a], count[a]) < std::pair(part_of[b], count[b]);
            });
            const auto offset_of = [&](std::uint32_t key) {
                const std::uint32_t local = key - key_begin;
                return static_cast<std::int32_t>((local / taps * layout.channel_stride + layout.tap_offsets[local % taps]) *
                                                 static_cast<std::ptrdiff_t>(sizeof(float)));
            };
            // Rows of a full tile read the same panel floats in the same order: they share one list of offsets.
            const std::int64_t shared_offsets = static_cast<std::int64_t>(offsets.size());
            if (all_full && group_rows > 0)
                for (std::int32_t k = 0; k < full; ++k) offsets.push_back(offset_of(key_begin + k));

            std::size_t i = 0;
            for (int part = 0; part < parts; ++part) {
                tile.group_begin.push_back(static_cast<std::int32_t>(stream->groups.size()));
                while (i < order.size() && part_of[order[i]] == part) {
                    const std::int32_t entries = count[order[i]];
                    RowGroup group{entries, 0, static_cast<std::int32_t>(stream->row_ids.size()), written,
                                   all_full ? shared_offsets : static_cast<std::int64_t>(offsets.size()),
                                   all_full ? 0 : entries};
                    for (; i < order.size() && part_of[order[i]] == part && count[order[i]] == entries; ++i) {
                        const std::int32_t row = order[i];
                        if (entries == 0 && !tile.first && !tile.last) continue;
                        ++group.block_rows;
                        stream->row_ids.push_back(row);
                        for (std::int64_t b = next[row]; b < next[row] + entries; ++b, ++written) {
                            const std::int32_t offset = offset_of(packed_.keys[b]);
                            if (fours) {
                                std::copy_n(&packed_.values[b * 4], 4, stream->weights.data() + written * 4);
                                if (!all_full) offsets.push_back(offset);
                            } else {
                                stream->entries.data()[written] = {packed_.values[b], offset};
                            }
                        }
                        next[row] += entries;
                    }
                    if (group.block_rows > 0) stream->groups.push_back(group);
                }
            }
            tile.group_begin.push_back(static_cast<std::int32_t>(stream->groups.size()));
            stream->tiles.push_back(std::move(tile));
        }
    }
    stream->offsets.reserve(offsets.size() + 1);
    std::copy(offsets.begin(), offsets.end(), stream->offsets.data());
    return stream;
}

std::shared_ptr<const AlignedBuffer<float>> Weights::dense(std::int64_t padded) const {
    std::lock_guard<std::mutex> lock(mutex_);
    if (auto known = dense_.lock()) return known;
    const std::int64_t depth = packed_.in_channels * packed_.kernel_h * packed_.kernel_w, rows = packed_.block_rows;
    auto made = std::make_shared<AlignedBuffer<float>>(static_cast<std::size_t>(depth * padded));
    for (std::int64_t row = 0; row < block_row_count(); ++row)
        for (std::int64_t block = packed_.row_ptr[row]; block < packed_.row_ptr[row + 1]; ++block)
            for (std::int64_t r = 0; r < rows && row * rows + r < packed_.out_channels; ++r)
                made->data()[packed_.keys[block] * padded + row * rows + r] = packed_.values[block * rows + r];
    dense_ = made;
    return made;
}

std::shared_ptr<const AlignedBuffer<float>> Weights::winograd(std::int64_t padded) const {
    const auto plain = dense(padded);
    std::lock_guard<std::mutex> lock(mutex_);
    if (auto known = winograd_.lock()) return known;
    constexpr double kG[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
    auto made = std::make_shared<AlignedBuffer<float>>(static_cast<std::size_t>(16 * packed_.in_channels * padded));
    for (std::int64_t c = 0; c < packed_.in_channels; ++c)
        for (std::int64_t o = 0; o < packed_.out_channels; ++o)
            for (int point = 0; point < 16; ++point) {
                double sum = 0.0;
                for (int tap = 0; tap < 9; ++tap)
                    sum += kG[point / 4][tap / 3] * kG[point % 4][tap % 3] * plain->data()[(c * 9 + tap) * padded + o];
                made->data()[(point * packed_.in_channels + c) * padded + o] = static_cast<float>(sum);
            }
    winograd_ = made;
    return made;
}

void Weights::unpack(float* dense) const {
    const std::int64_t columns = packed_.in_channels * packed_.kernel_h * packed_.kernel_w, rows = packed_.block_rows;
    std::fill_n(dense, packed_.out_channels * columns, 0.0f);
    for (std::int64_t row = 0; row < block_row_count(); ++row)
        for (std::int64_t block = packed_.row_ptr[row]; block < packed_.row_ptr[row + 1]; ++block)
            for (std::int64_t r = 0; r < rows && row * rows + r < packed_.out_channels; ++r)
                dense[(row * rows + r) * columns + packed_.keys[block]] = packed_.values[block * rows + r];
}

std::size_t Weights::packed_bytes() const {
    return packed_.row_ptr.size() * sizeof(std::int64_t) + packed_.keys.size() * sizeof(std::uint32_t) +
           packed_.values.size() * sizeof(float) + bias_.bytes();
}

std::size_t Weights::bytes() const {
    std::size_t total = packed_bytes();
    std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [key, weak] : streams_)
        if (const auto stream = weak.lock()) total += stream->bytes();
    for (const auto& weak : {dense_, winograd_})
        if (const auto matrix = weak.lock()) total += matrix->bytes();
    return total;
}

}  // namespace sovs
