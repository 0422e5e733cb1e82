// One convolution (or linear layer) of a plan: tiles of pixels times parts of output channels.
#pragma once
#include <memory>

#include "step.h"
#include "tiling.h"
#include "weights.h"

namespace sovs {

struct ConvParams {
    std::int64_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    Activation activation;  // after the residual is added
};

// The convolution's sizes, found to fit its maps; throws InvalidArgument where they do not.
ConvShape checked_shape(const Weights& weights, const ConvParams& params, const TensorDesc& input,
                        const TensorDesc& output);

class ConvStep final : public Step {
public:
    // Throws InvalidArgument where shapes do not fit. `threads` guides the tiling, never the result.
    ConvStep(std::shared_ptr<const Weights> weights, const ConvParams& params, const TensorDesc& input,
             const TensorDesc& output, const Tuning& tuning, int threads);

    long units() const override { return static_cast<long>(tiling_.grid.units); }
    int parts() const override { return static_cast<int>(tiling_.grid.tiles_x) * tiling_.row_parts; }
    Range writes(long unit) const override;
    Range reads(long unit) const override;
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return weights_->sizes().block_rows == 4 ? "sparse rows4" : "sparse rows1"; }

    const Tiling& tiling() const { return tiling_; }

private:
    // A rectangle of output pixels of one image; of a pointwise convolution, a run of pixels of all images.
    struct Tile {
        std::int64_t image, y, x;  // the first pixel
        std::int32_t rows, cols;
        std::int32_t lanes;  // with the pitch between rows
        int vectors;
    };

    Tile tile_at(long unit, std::int64_t column) const;
    std::int64_t first_pixel(const Tile& tile) const;
    // The part of the stream that the part begins with.
    int stream_part(int part) const { return part * tiling_.stream_parts / tiling_.row_parts; }
    // The output's place of lane 0 if all lanes of the tile are a run there, else null.
    float* direct(const Tile& tile, const Map& map) const;
    void pack(const Tile& tile, const KTile& k_tile, const Map& input, float* panel) const;
    void pack_row(const KTile& k_tile, const Map& input, std::int64_t row_pixel, std::int64_t x, std::int64_t stride,
                  std::int32_t cols, float* panel) const;
    void multiply(const Tile& tile, const KTile& k_tile, int part, const float* panel, float* sums,
                  std::ptrdiff_t channel_stride, float* out, const float* residual) const;
    void store(const Tile& tile, int part, const float* sums, const StepMaps& maps) const;

    std::shared_ptr<const Weights> weights_;
    ConvShape shape_;
    Activation activation_;
    TensorDesc input_, output_;
    Tiling tiling_;
    PanelLayout panel_;
    std::ptrdiff_t panel_floats_;
    std::shared_ptr<const Stream> stream_;
};

}  // namespace sovs
