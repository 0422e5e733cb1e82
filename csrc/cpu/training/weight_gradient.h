// The gradient of a sparse convolution's weight: dot products of output gradients and inputs, only where weights are
// stored.
#pragma once
#include <memory>

#include "conv/conv_params.h"
#include "conv/conv_tiles.h"

namespace sovs {

class WeightGradient {
public:
    // Throws InvalidArgument where shapes do not fit. The activation of params is not read. `threads` guides how the work
    // is cut, never the result.
    WeightGradient(std::shared_ptr<const Weights> weights, const ConvParams& params, const TensorDesc& input,
                   const TensorDesc& output, const Tuning& tuning, int threads);

    // input and grad lie as the descriptions say; gradient: dense, (out_channels, in_channels, kernel_h, kernel_w), written
    // whole, with zeros where no weight is stored.
    void run(const float* input, const float* grad, float* gradient, int threads) const;

    const Tiling& tiling() const { return tiles_.tiling(); }

private:
    void run_part(int chunk, int part, const Map& input, const Map& grad, float* sums) const;
    // Copies a tile's gradients of the channels [begin, end) to lanes: `rows` is that of channel 0.
    void load_gradients(const ConvTile& tile, const Map& grad, std::int64_t begin, std::int64_t end, float* rows) const;
    void sample(const ConvTile& tile, const KTile& k_tile, int part, const float* panel, const float* grad,
                std::ptrdiff_t grad_stride, float* sums) const;
    void scatter(std::int64_t block_row, const float* sums, float* gradient) const;

    std::shared_ptr<const Weights> weights_;
    std::shared_ptr<const PackedWeights> packed_;
    ConvShape shape_;
    TensorDesc input_, output_;
    int chunks_;  // of the pixels: each has sums of its own, so that threads never change their order
    ConvTiles tiles_;
    Stream stream_;                        // its weights are not read
    std::vector<std::int32_t> positions_;  // of the compact copy's blocks in it
};

}  // namespace sovs
