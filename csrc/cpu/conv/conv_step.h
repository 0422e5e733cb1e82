// One convolution (or linear layer) of a plan: tiles of pixels times parts of output channels.
#pragma once
#include <memory>

#include "conv/conv_tiles.h"

namespace sovs {

class ConvStep final : public Step {
public:
    // Throws InvalidArgument where shapes do not fit. `threads` guides the tiling, never the result.
    ConvStep(std::shared_ptr<const Weights> weights, const ConvParams& params, const TensorDesc& input,
             const TensorDesc& output, const Tuning& tuning, int threads);

    long units() const override { return static_cast<long>(tiling().grid.units); }
    int parts() const override { return static_cast<int>(tiling().grid.tiles_x) * tiling().row_parts; }
    Range writes(long unit) const override { return tiles_.writes(unit); }
    Range reads(long unit) const override;
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return weights_->sizes().block_rows == 4 ? "sparse rows4" : "sparse rows1"; }

    const Tiling& tiling() const { return tiles_.tiling(); }

private:
    // The part of the stream that the part begins with.
    int stream_part(int part) const { return part * tiling().stream_parts / tiling().row_parts; }
    void multiply(const ConvTile& tile, const KTile& k_tile, int part, const float* panel, float* sums,
                  std::ptrdiff_t channel_stride, float* out, const float* residual) const;
    void store(const ConvTile& tile, int part, const float* sums, const StepMaps& maps) const;

    std::shared_ptr<const Weights> weights_;
    ConvShape shape_;
    Activation activation_;
    TensorDesc input_, output_;
    ConvTiles tiles_;
    std::shared_ptr<const Stream> stream_;
};

}  // namespace sovs
