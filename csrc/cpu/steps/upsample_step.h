// Every pixel twice in both directions, the map beside it added: how the levels of a feature pyramid meet.
#pragma once
#include "steps/operation.h"

namespace sovs {

class UpsampleStep final : public Step {
public:
    // Throws InvalidArgument where the output is not of twice the input's size.
    UpsampleStep(const TensorDesc& input, const TensorDesc& output);

    // Rows of the input.
    long units() const override { return static_cast<long>(input_.n * input_.h); }
    int parts() const override { return parts_; }
    Range writes(long unit) const override;
    Range reads(long unit, std::size_t input) const override;
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return "upsample"; }

private:
    // Of channels [begin, end).
    void run_pixels(long unit, std::int64_t begin, std::int64_t end, const StepMaps& maps) const;
    void run_rows(long unit, std::int64_t begin, std::int64_t end, const StepMaps& maps) const;

    TensorDesc input_, output_;
    int parts_;  // of the channels
};

class Upsample2x final : public Operation {
public:
    // `residual`: a second input, of the output's shape, is added.
    explicit Upsample2x(bool residual) : residual_(residual) {}

    const char* name() const override { return "upsample2x"; }
    int added() const override { return residual_ ? 1 : -1; }
    std::int64_t out_channels(const std::vector<std::int64_t>& inputs) const override;
    MapSize out_size(const std::vector<TensorDesc>& inputs) const override;
    std::unique_ptr<const Step> make(const StepPlace& place, int threads) const override;

private:
    bool residual_;
};

}  // namespace sovs
