// Packed sparse weights of one layer, and the streams expanded from them for one panel layout each.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "aligned.h"
#include "kernels/kernel_table.h"
#include "panel_layout.h"

namespace sovs {

// The input channels [begin, end) of one conv group, and what each part of the output channels does with them.
struct KTile {
    std::int64_t channel_begin, channel_end;  // of all groups
    bool first, last;                         // of its conv group
    std::vector<std::int32_t> group_begin;    // (parts + 1) into Stream::groups
};

// Weights in the order and with the offsets that the kernels read.
struct Stream {
    std::vector<KTile> tiles;
    std::vector<std::int32_t> part_begin;  // (parts + 1) block rows
    std::vector<RowGroup> groups;
    std::vector<std::int32_t> row_ids;
    AlignedBuffer<Entry> entries;         // blocks of 1
    AlignedBuffer<std::int32_t> offsets;  // blocks of 4
    AlignedBuffer<float> weights;         // blocks of 4
    std::size_t bytes() const;
};

class Weights {
public:
    // Blocks in channel-major order: keys are input channel * taps + tap, ascending in each block row.
    struct Packed {
        std::int64_t out_channels, in_channels, kernel_h, kernel_w, groups, block_rows;
        std::vector<std::int64_t> row_ptr;
        std::vector<std::uint32_t> keys;
        std::vector<float> values;  // (keys, block_rows)
    };

    Weights(Packed packed, const float* bias);

    const Packed& packed() const { return packed_; }
    const float* bias() const { return bias_.data(); }
    std::int64_t block_row_count() const { return static_cast<std::int64_t>(packed_.row_ptr.size()) - 1; }
    double density() const;

    // The stream for K-tiles of k_tile channels over this layout, with the rows in `parts` parts of about equal work.
    std::shared_ptr<const Stream> stream(const PanelLayout& layout, std::int64_t k_tile, int parts) const;

    // The weights as the dense kernels read them, (in_channels * taps, out_channels padded to `padded`).
    std::shared_ptr<const AlignedBuffer<float>> dense(std::int64_t padded) const;
    // The same in the 16 points of Winograd's F(2x2, 3x3): (16, in_channels, padded). Of 3x3 kernels.
    std::shared_ptr<const AlignedBuffer<float>> winograd(std::int64_t padded) const;

    std::size_t bytes() const;
    // Of these, the compact copy that streams are expanded from.
    std::size_t packed_bytes() const;
    // Writes the dense weight (out_channels, in_channels, kernel_h, kernel_w).
    void unpack(float* dense) const;

private:
    using StreamKey = std::tuple<std::vector<std::ptrdiff_t>, std::ptrdiff_t, std::int64_t, int>;
    std::shared_ptr<const Stream> expand(const PanelLayout& layout, std::int64_t k_tile, int parts) const;

    Packed packed_;
    AlignedBuffer<float> bias_;
    mutable std::mutex mutex_;
    // Streams live as long as a plan uses them.
    mutable std::map<StreamKey, std::weak_ptr<const Stream>> streams_;
    mutable std::weak_ptr<const AlignedBuffer<float>> dense_, winograd_;
};

}  // namespace sovs
