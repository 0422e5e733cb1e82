#include "weights/weights.h"

#include <algorithm>

#include "base/error.h"
#include "base/fork_safe.h"
#include "base/thread_pool.h"
#include "weights/dense_forms.h"
#include "weights/pack.h"

namespace sovs {

Weights::Weights(PackedWeights packed, const float* bias)
    : sizes_(packed.structure.sizes),
      dtype_(packed.values.dtype()),
      stored_(static_cast<std::int64_t>(packed.values.size())),
      scales_(packed.values.scales()),
      packed_(std::make_shared<PackedWeights>(std::move(packed))) {
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
    require(packed_ != nullptr && forms_.dense.live().empty() && forms_.winograd.live().empty(),
            "expected weights that hold their compact copy and no dense form");
    const Structure& structure = packed_->structure;
    const std::span<float> numbers = packed_->values.f32();
    const auto streams = forms_.streams.live();
    for (const auto& stream : streams)
        if (stream->positions.empty()) stream->positions = stream_positions(structure, stream->layout);
    constexpr std::int64_t kRows = 16;  // of a unit
    const std::int64_t rows = sizes_.block.rows, count = block_row_count();
    parallel_for(static_cast<long>((count + kRows - 1) / kRows), threads, [&](long unit) {
        for (std::int64_t row = unit * kRows; row < std::min(count, (unit + 1) * kRows); ++row)
            for (std::int64_t b = structure.row_ptr[row]; b < structure.row_ptr[row + 1]; ++b) {
                float* values = &numbers[b * rows];
                for (std::int64_t r = 0; r < rows && row * rows + r < sizes_.out_channels; ++r)
                    values[r] = weight[place(row * rows + r, structure.keys[b])];
                for (const auto& stream : streams) {
                    const std::int64_t to = stream->positions[b];
                    if (rows == 4)
                        std::copy_n(values, 4, stream->weights.data() + to * 4);
                    else
                        stream->entries.data()[to].weight = *values;
                }
            }
    });
    if (bias != nullptr) std::copy_n(bias, sizes_.out_channels, bias_.data());
}

double Weights::density() const {
    const double all = static_cast<double>(sizes_.out_channels) * sizes_.in_channels * sizes_.taps();
    return all == 0 ? 0.0 : static_cast<double>(stored_) / all;
}

bool Weights::stores_all() const { return stored_ == block_row_count() * sizes_.block.rows * sizes_.columns(); }

std::shared_ptr<const Stream> Weights::stream(const StreamLayout& layout) const {
    const StreamKey key = key_of(layout);
    {
        const ForkSafeLock lock(mutex_);
        if (auto known = forms_.streams.find(key)) return known;
    }
    // Outside the lock: expanding takes milliseconds. Two threads may do it at once; the streams are equal.
    const auto made = std::make_shared<LiveStream>(LiveStream{expand_stream(*packed(), layout), {}});
    const ForkSafeLock lock(mutex_);
    auto stream = forms_.streams.keep(key, made);
    if (drops_packed_) replace_packed(stream);
    return stream;
}

std::shared_ptr<const ByteStream> Weights::byte_stream(const ByteStreamLayout& layout) const {
    {
        const ForkSafeLock lock(mutex_);
        if (auto known = forms_.byte_streams.find(layout)) return known;
    }
    const auto made = std::make_shared<const ByteStream>(make_byte_stream(*packed(), layout));
    const ForkSafeLock lock(mutex_);
    auto stream = forms_.byte_streams.keep(layout, made);
    if (drops_packed_) replace_packed(stream);
    return stream;
}

std::shared_ptr<const ByteQuads> Weights::byte_quads(int rows) const {
    require(stores_all() && sizes_.groups == 1, "expected weights that are all stored, and no groups");
    {
        const ForkSafeLock lock(mutex_);
        if (auto known = forms_.byte_quads.find(rows)) return known;
    }
    const auto made = std::make_shared<const ByteQuads>(make_byte_quads(*packed(), rows));
    const ForkSafeLock lock(mutex_);
    auto quads = forms_.byte_quads.keep(rows, made);
    if (drops_packed_) replace_packed(quads);
    return quads;
}

std::shared_ptr<const Bf16Matrix> Weights::bf16_matrix(const Bf16Blocks& blocks) const {
    require(sizes_.groups == 1, "expected weights without groups");
    {
        const ForkSafeLock lock(mutex_);
        if (auto known = forms_.bf16_matrices.find(blocks)) return known;
    }
    const auto made = std::make_shared<const Bf16Matrix>(make_bf16_matrix(*packed(), blocks));
    const ForkSafeLock lock(mutex_);
    auto matrix = forms_.bf16_matrices.keep(blocks, made);
    if (drops_packed_) replace_packed(matrix);
    return matrix;
}

std::vector<StreamLayout> Weights::live() const {
    const ForkSafeLock lock(mutex_);
    std::vector<StreamLayout> layouts;
    for (const auto& stream : forms_.streams.live()) layouts.push_back(stream->layout);
    return layouts;
}

std::vector<ByteStreamLayout> Weights::live_byte_streams() const {
    const ForkSafeLock lock(mutex_);
    std::vector<ByteStreamLayout> layouts;
    for (const auto& stream : forms_.byte_streams.live()) layouts.push_back(stream->layout);
    return layouts;
}

void Weights::drop_packed() const {
    const ForkSafeLock lock(mutex_);
    drops_packed_ = true;
    for (const auto& stream : forms_.streams.live()) replace_packed(stream);
    for (const auto& stream : forms_.byte_streams.live()) replace_packed(stream);
    for (const auto& quads : forms_.byte_quads.live()) replace_packed(quads);
    for (const auto& matrix : forms_.bf16_matrices.live()) replace_packed(matrix);
}

void Weights::hold_once() const {
    drop_packed();
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
    repack_ = [stream, this] { return pack_stream(*stream, sizes_); };
    packed_.reset();
}

// Under the lock.
void Weights::replace_packed(const std::shared_ptr<const ByteStream>& stream) const {
    if (packed_ == nullptr) return;
    repack_ = [stream, this] {
        return pack_byte_stream(*stream, sizes_, dtype_ == DType::s8 ? scales_.data() : nullptr);
    };
    packed_.reset();
}

// Under the lock.
void Weights::replace_packed(const std::shared_ptr<const ByteQuads>& quads) const {
    if (packed_ == nullptr) return;
    repack_ = [quads, this] { return pack_byte_quads(*quads, sizes_, scales_.data()); };
    packed_.reset();
}

// Under the lock.
void Weights::replace_packed(const std::shared_ptr<const Bf16Matrix>& matrix) const {
    if (packed_ == nullptr) return;
    repack_ = [matrix, this] { return pack_bf16_matrix(*matrix, sizes_); };
    packed_.reset();
}

std::shared_ptr<const PackedWeights> Weights::packed() const {
    std::function<PackedWeights()> repack;
    {
        const ForkSafeLock lock(mutex_);
        if (packed_ != nullptr) return packed_;
        repack = repack_;
    }
    return std::make_shared<const PackedWeights>(repack());
}

std::shared_ptr<const AlignedBuffer<float>> Weights::dense(std::int64_t padded) const {
    const auto compact = packed();
    const ForkSafeLock lock(mutex_);
    if (auto known = forms_.dense.find(padded)) return known;
    return forms_.dense.keep(padded, std::make_shared<const AlignedBuffer<float>>(dense_matrix(*compact, padded)));
}

std::shared_ptr<const AlignedBuffer<float>> Weights::winograd(std::int64_t padded) const {
    const auto matrix = dense(padded);
    const ForkSafeLock lock(mutex_);
    if (auto known = forms_.winograd.find(padded)) return known;
    return forms_.winograd.keep(padded,
                                std::make_shared<const AlignedBuffer<float>>(winograd_points(*matrix, sizes_, padded)));
}

void Weights::unpack(float* dense) const { sovs::unpack(*packed(), dense); }

std::size_t Weights::packed_bytes() const {
    const ForkSafeLock lock(mutex_);
    return bias_.bytes() + scales_.size() * sizeof(float) + (packed_ == nullptr ? 0 : packed_->bytes());
}

std::size_t Weights::bytes() const {
    const std::size_t compact = packed_bytes();
    const ForkSafeLock lock(mutex_);
    return compact + forms_.bytes();
}

}  // namespace sovs
