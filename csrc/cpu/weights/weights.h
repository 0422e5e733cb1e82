// One layer's weights: structure and values in the compact form, the bias, and the forms that kernels read them in.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/aligned.h"
#include "weights/form_cache.h"
#include "weights/packed.h"

namespace sovs {

// Any number of threads may ask for forms at once. Who asks for one of another type of weights gets InvalidArgument.
class Weights {
public:
    // bias: (out_channels,) or null for zeros.
    Weights(PackedWeights packed, const float* bias);
    // Those of the input gradient's convolution, see transpose(); no bias.
    static std::shared_ptr<const Weights> transposed(const Weights& weights);

    const WeightSizes& sizes() const { return sizes_; }
    DType dtype() const { return dtype_; }
    const float* bias() const { return bias_.data(); }
    const std::vector<float>& scales() const { return scales_; }  // (out_channels) of s8, else empty
    std::int64_t block_row_count() const { return sizes_.block_row_count(); }
    double density() const;
    bool stores_all() const;  // zeros too

    // The compact copy, packed again where a stream has its place.
    std::shared_ptr<const PackedWeights> packed() const;
    std::shared_ptr<const Stream> stream(const StreamLayout& layout) const;
    // Of s8 weights; of float32 ones, rounded to bf16.
    std::shared_ptr<const ByteStream> byte_stream(const ByteStreamLayout& layout) const;
    // Of s8 weights without groups, all of them stored.
    std::shared_ptr<const ByteQuads> byte_quads(int rows) const;
    // Of float32 weights without groups, rounded to bf16.
    std::shared_ptr<const Bf16Matrix> bf16_matrix(const Bf16Blocks& blocks) const;
    // Layouts of the streams that are held anyway, in no particular order.
    std::vector<StreamLayout> live() const;
    std::vector<ByteStreamLayout> live_byte_streams() const;
    // See dense_forms.h.
    std::shared_ptr<const AlignedBuffer<float>> dense(std::int64_t padded) const;
    std::shared_ptr<const AlignedBuffer<float>> winograd(std::int64_t padded) const;

    // Writes new values where weights are stored, into the compact copy and into every live stream; nothing may run them
    // meanwhile. weight: dense, (out_channels, in_channels, kernel_h, kernel_w); of transposed weights, the original's.
    // Of weights that dropped their compact copy, or that a dense form was made of, it throws.
    void update(const float* weight, const float* bias, int threads) const;

    // From here on the first stream takes the compact copy's place, which is packed again whenever it is needed.
    void drop_packed() const;
    // And plans of all sizes should share that stream, at the cost of some speed.
    void hold_once() const;
    bool held_once() const;

    std::size_t bytes() const;
    // Of these, bias, scales and the compact copy that streams are made of; that is gone where a stream replaced it.
    std::size_t packed_bytes() const;
    // Writes the dense weight (out_channels, in_channels, kernel_h, kernel_w).
    void unpack(float* dense) const;

private:
    std::int64_t place(std::int64_t row, std::uint32_t key) const;
    void replace_packed(const std::shared_ptr<const Stream>& stream) const;
    void replace_packed(const std::shared_ptr<const ByteStream>& stream) const;
    void replace_packed(const std::shared_ptr<const ByteQuads>& quads) const;
    void replace_packed(const std::shared_ptr<const Bf16Matrix>& matrix) const;

    WeightSizes sizes_;
    DType dtype_;
    std::int64_t stored_;  // numbers
    std::vector<float> scales_;
    mutable AlignedBuffer<float> bias_;
    mutable std::mutex mutex_;
    mutable bool drops_packed_ = false, held_once_ = false;
    bool transposed_ = false;
    mutable std::shared_ptr<PackedWeights> packed_;  // null once a stream has its place
    mutable std::function<PackedWeights()> repack_;  // from that stream
    mutable FormCache forms_;
};

}  // namespace sovs
