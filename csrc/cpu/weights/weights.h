// Packed sparse weights of one layer, and the streams expanded from them for one panel layout each.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "base/aligned.h"
#include "weights/stream.h"

namespace sovs {

class Weights {
public:
    using Packed = PackedWeights;

    Weights(Packed packed, const float* bias);
    // Those of the input gradient's convolution, see transpose(); no bias.
    static std::shared_ptr<const Weights> transposed(const Weights& weights);

    const WeightSizes& sizes() const { return sizes_; }
    const float* bias() const { return bias_.data(); }
    std::int64_t block_row_count() const { return sizes_.block_row_count(); }
    double density() const;

    // The compact copy, packed again where a stream has its place.
    std::shared_ptr<const Packed> packed() const;
    std::shared_ptr<const Stream> stream(const StreamLayout& layout) const;
    // Layouts of the streams that are held anyway, in no particular order.
    std::vector<StreamLayout> live() const;

    // Writes new values where weights are stored, into the compact copy and into every live stream; nothing may run them
    // meanwhile. weight: dense, (out_channels, in_channels, kernel_h, kernel_w); of transposed weights, the original's.
    // Of weights that were released, or that a dense form was made of, it throws.
    void update(const float* weight, const float* bias, int threads) const;

    // From here on the first stream takes the compact copy's place, which is packed again whenever it is needed.
    void release() const;
    // And plans of all sizes should share that stream, at the cost of some speed.
    void hold_once() const;
    bool held_once() const;

    // The weights as the dense kernels read them, (in_channels * taps, out_channels padded to `padded`).
    std::shared_ptr<const AlignedBuffer<float>> dense(std::int64_t padded) const;
    // The same in the 16 points of Winograd's F(2x2, 3x3): (16, in_channels, padded). Of 3x3 kernels.
    std::shared_ptr<const AlignedBuffer<float>> winograd(std::int64_t padded) const;

    std::size_t bytes() const;
    // Of these, the bias and the compact copy that streams are expanded from; that is gone where a stream replaced it.
    std::size_t packed_bytes() const;
    // Writes the dense weight (out_channels, in_channels, kernel_h, kernel_w).
    void unpack(float* dense) const;

private:
    using StreamKey = std::tuple<std::vector<std::ptrdiff_t>, std::ptrdiff_t, std::int64_t, int>;
    struct Expanded {
        std::weak_ptr<Stream> stream;
        std::vector<std::int32_t> positions;  // of the compact copy's blocks; found at the first update
    };
    std::int64_t place(std::int64_t row, std::uint32_t key) const;
    void replace_packed(const std::shared_ptr<const Stream>& stream) const;

    WeightSizes sizes_;
    std::int64_t stored_;  // numbers
    mutable AlignedBuffer<float> bias_;
    mutable std::mutex mutex_;
    mutable bool released_ = false, held_once_ = false;
    bool transposed_ = false;
    mutable std::shared_ptr<Packed> packed_;  // null once base_ has its place
    mutable std::shared_ptr<const Stream> base_;
    // Streams live as long as a plan uses them.
    mutable std::map<StreamKey, Expanded> streams_;
    mutable std::weak_ptr<const AlignedBuffer<float>> dense_, winograd_;
};

}  // namespace sovs
