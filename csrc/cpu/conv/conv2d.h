// The convolution of a program: output = activation(conv2d(input) + bias [+ residual]).
#pragma once
#include <memory>
#include <utility>

#include "conv/backend.h"

namespace sovs {

// A linear layer is a 1x1 convolution whose pixels are the tokens.
class Conv2d final : public Operation {
public:
    Conv2d(std::shared_ptr<const Weights> weights, const ConvParams& params, const Tuning& tuning, bool residual)
        : weights_(std::move(weights)), params_(params), tuning_(tuning), residual_(residual) {}

    const char* name() const override { return "conv2d"; }
    std::int64_t out_channels(const std::vector<std::int64_t>& inputs) const override;
    MapSize out_size(const std::vector<TensorDesc>& inputs) const override;
    std::unique_ptr<const Step> make(const StepPlace& place, int threads) const override;
    bool takes(const std::vector<DType>& inputs, DType output) const override;
    int added() const override { return residual_ ? 1 : -1; }
    bool adds_in_place() const override { return weights_->dtype() == DType::s8; }
    bool writes_lines() const override { return weights_->dtype() == DType::s8; }
    std::optional<Layouts> layouts(const StepPlace& place) const override;
    bool wants_same_tiles() const override { return weights_->held_once(); }
    double density() const override { return weights_->density(); }

private:
    ConvCase case_of(const StepPlace& place) const;

    std::shared_ptr<const Weights> weights_;
    ConvParams params_;
    Tuning tuning_;
    bool residual_;
};

}  // namespace sovs
