#include "weights/weights.h"

#include <algorithm>

#include "base/error.h"
#include "base/fork_safe.h"
#include "weights/pack.h"
#include "base/thread_pool.h"

namespace sovs {

Weights::Weights(Packed packed, const float* bias)
    : sizes_(packed),
      stored_(static_cast<std::int64_t>(packed.values.size())),
      packed_(std::make_shared<Packed>(std::move(packed))) {
    // Kernels read it in whole block rows and whole pairs of vectors.
    constexpr std::int64_t kPair = 2 * 16;
    bias_.reserve(static_cast<std::size_t>((sizes_.out_channels + kPair - 1) / kPair * kPair));
    if (bias != nullptr) std::copy_n(bias, sizes_.out_channels, bias_.data());
}

std::shared_ptr<const Weights> Weights::transposed(const Weights& weights) {
    const auto made = std::make_shared<Weights>(transpose(*weights.packed()), nullptr);
    made->transposed_ = true;
    return made;
}

// Of a stored weight in the dense weight that torch holds.
std::int64_t Weights::place(std::int64_t row, std::uint32_t key) const {
    const std::int64_t taps = sizes_.taps();
    if (!transposed_) return row * sizes_.in_channels * taps + key;
    const std::int64_t group_rows = sizes_.out_channels / sizes_.groups;  // input channels of the original's group
    const std::int64_t out = row / group_rows * sizes_.in_channels + key / taps;
    return (out * group_rows + row % group_rows) * taps + (taps - 1 - key % taps);
}

void Weights::update(const float* weight, const float* bias, int threads) const {
    const ForkSafeLock lock(mutex_);
    require(packed_ != nullptr && dense_.expired() && winograd_.expired(),
            "expected weights that hold their compact copy and no dense form");
    struct Target {
        Stream* stream;
        const std::int32_t* positions;
    };
    std::vector<Target> targets;
    std::vector<std::shared_ptr<Stream>> alive;
    for (auto& [key, expanded] : streams_) {
        alive.push_back(expanded.stream.lock());
        if (alive.back() == nullptr) continue;
        if (expanded.positions.empty()) expanded.positions = stream_positions(*packed_, alive.back()->layout);
        targets.push_back({alive.back().get(), expanded.positions.data()});
    }
    constexpr std::int64_t kRows = 16;  // of a unit
    const std::int64_t rows = sizes_.block_rows, count = block_row_count();
    parallel_for(static_cast<long>((count + kRows - 1) / kRows), threads, [&](long unit) {
        for (std::int64_t row = unit * kRows; row < std::min(count, (unit + 1) * kRows); ++row)
            for (std::int64_t b = packed_->row_ptr[row]; b < packed_->row_ptr[row + 1]; ++b) {
                float* values = &packed_->values[b * rows];
                for (std::int64_t r = 0; r < rows && row * rows + r < sizes_.out_channels; ++r)
                    values[r] = weight[place(row * rows + r, packed_->keys[b])];
                for (const Target& target : targets) {
                    const std::int64_t to = target.positions[b];
                    if (rows == 4)
                        std::copy_n(values, 4, target.stream->weights.data() + to * 4);
                    else
                        target.stream->entries.data()[to].weight = *values;
                }
            }
    });
    if (bias != nullptr) std::copy_n(bias, sizes_.out_channels, bias_.data());
}

double Weights::density() const {
    const double all = static_cast<double>(sizes_.out_channels) * sizes_.in_channels * sizes_.taps();
    return all == 0 ? 0.0 : static_cast<double>(stored_) / all;
}

std::shared_ptr<const Stream> Weights::stream(const StreamLayout& layout) const {
    const StreamKey key{layout.panel.tap_offsets, layout.panel.channel_stride, layout.k_tile, layout.parts};
    const auto find = [&]() -> std::shared_ptr<const Stream> {
        const auto found = streams_.find(key);
        return found == streams_.end() ? nullptr : found->second.stream.lock();
    };
    {
        const ForkSafeLock lock(mutex_);
        if (auto known = find()) return known;
    }
    // Outside the lock: expanding takes milliseconds. Two threads may do it at once; the streams are equal.
    const auto made = std::make_shared<Stream>(expand_stream(*packed(), layout));
    const ForkSafeLock lock(mutex_);
    if (auto known = find()) return known;
    std::erase_if(streams_, [](const auto& item) { return item.second.stream.expired(); });
    streams_[key] = {made, {}};
    if (released_) replace_packed(made);
    return made;
}

std::vector<StreamLayout> Weights::live() const {
    const ForkSafeLock lock(mutex_);
    std::vector<StreamLayout> layouts;
    for (const auto& [key, expanded] : streams_)
        if (const auto stream = expanded.stream.lock()) layouts.push_back(stream->layout);
    return layouts;
}

void Weights::release() const {
    const ForkSafeLock lock(mutex_);
    released_ = true;
    for (const auto& [key, expanded] : streams_)
        if (const auto stream = expanded.stream.lock()) replace_packed(stream);
}

void Weights::hold_once() const {
    release();
    const ForkSafeLock lock(mutex_);
    held_once_ = true;
}

bool Weights::held_once() const {
    const ForkSafeLock lock(mutex_);
    return held_once_;
}

// Under the lock.
void Weights::replace_packed(const std::shared_ptr<const Stream>& stream) const {
    if (packed_ == nullptr) return;
    base_ = stream;
    packed_.reset();
}

std::shared_ptr<const Weights::Packed> Weights::packed() const {
    std::shared_ptr<const Stream> base;
    {
        const ForkSafeLock lock(mutex_);
        if (packed_ != nullptr) return packed_;
        base = base_;
    }
    return std::make_shared<const Packed>(pack_stream(*base, sizes_));
}

std::shared_ptr<const AlignedBuffer<float>> Weights::dense(std::int64_t padded) const {
    const auto compact = packed();
    const ForkSafeLock lock(mutex_);
    if (auto known = dense_.lock()) return known;
    const std::int64_t depth = sizes_.in_channels * sizes_.taps(), rows = sizes_.block_rows;
    auto made = std::make_shared<AlignedBuffer<float>>(static_cast<std::size_t>(depth * padded));
    for (std::int64_t row = 0; row < block_row_count(); ++row)
        for (std::int64_t block = compact->row_ptr[row]; block < compact->row_ptr[row + 1]; ++block)
            for (std::int64_t r = 0; r < rows && row * rows + r < sizes_.out_channels; ++r)
                made->data()[compact->keys[block] * padded + row * rows + r] = compact->values[block * rows + r];
    dense_ = made;
    return made;
}

std::shared_ptr<const AlignedBuffer<float>> Weights::winograd(std::int64_t padded) const {
    const auto plain = dense(padded);
    const ForkSafeLock lock(mutex_);
    if (auto known = winograd_.lock()) return known;
    constexpr double kG[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
    auto made = std::make_shared<AlignedBuffer<float>>(static_cast<std::size_t>(16 * sizes_.in_channels * padded));
    for (std::int64_t c = 0; c < sizes_.in_channels; ++c)
        for (std::int64_t o = 0; o < sizes_.out_channels; ++o)
            for (int point = 0; point < 16; ++point) {
                double sum = 0.0;
                for (int tap = 0; tap < 9; ++tap)
                    sum += kG[point / 4][tap / 3] * kG[point % 4][tap % 3] * plain->data()[(c * 9 + tap) * padded + o];
                made->data()[(point * sizes_.in_channels + c) * padded + o] = static_cast<float>(sum);
            }
    winograd_ = made;
    return made;
}

void Weights::unpack(float* dense) const {
    const auto compact = packed();
    const std::int64_t columns = sizes_.in_channels * sizes_.taps(), rows = sizes_.block_rows;
    std::fill_n(dense, sizes_.out_channels * columns, 0.0f);
    for (std::int64_t row = 0; row < block_row_count(); ++row)
        for (std::int64_t block = compact->row_ptr[row]; block < compact->row_ptr[row + 1]; ++block)
            for (std::int64_t r = 0; r < rows && row * rows + r < sizes_.out_channels; ++r)
                dense[(row * rows + r) * columns + compact->keys[block]] = compact->values[block * rows + r];
}

std::size_t Weights::packed_bytes() const {
    const ForkSafeLock lock(mutex_);
    return bias_.bytes() + (packed_ == nullptr ? 0 : packed_->bytes());
}

std::size_t Weights::bytes() const {
    std::size_t total = packed_bytes();
    const ForkSafeLock lock(mutex_);
    for (const auto& [key, expanded] : streams_)
        if (const auto stream = expanded.stream.lock()) total += stream->bytes();
    for (const auto& weak : {dense_, winograd_})
        if (const auto matrix = weak.lock()) total += matrix->bytes();
    return total;
}

}  // namespace sovs
