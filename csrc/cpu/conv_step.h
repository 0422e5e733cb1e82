// One convolution (or linear layer) of a plan: tiles of pixels times parts of output channels.
#pragma once
#include <memory>

#include "step.h"
#include "tiling.h"
#include "weights.h"

namespace sovs {

struct ConvParams {
    std::int64_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    bool relu;
};

class ConvStep final : public Step {
public:
    // Throws InvalidArgument where shapes do not fit. `threads` guides the tiling, never the result.
    ConvStep(std::shared_ptr<const Weights> weights, const ConvParams& params, const TensorDesc& input,
             const TensorDesc& output, const Tuning& tuning, int threads);

    long units() const override { return static_cast<long>(tiling_.grid.tiles() * tiling_.row_parts); }
    void run_unit(long unit, const float* input, const float* residual, float* output) const override;

    const Tiling& tiling() const { return tiling_; }

private:
    // A rectangle of output pixels of one image, from lane `lane` of the tile on.
    struct Segment {
        std::int64_t image, y, x;
        std::int32_t rows, cols, lane;
    };
    struct Tile;

    Tile tile_at(std::int64_t index) const;
    void pack(const Tile& tile, const KTile& k_tile, const float* input, float* panel) const;
    void multiply(const Tile& tile, const KTile& k_tile, int part, const float* panel, float* sums, float* out,
                  const float* residual) const;
    void store(const Tile& tile, int part, const float* sums, float* output, const float* residual) const;

    std::shared_ptr<const Weights> weights_;
    ConvShape shape_;
    bool relu_;
    TensorDesc input_, output_;
    Tiling tiling_;
    PanelLayout panel_;
    std::shared_ptr<const Stream> stream_;
};

}  // namespace sovs
