// Turns a map of floats into one of u8 or bf16, or back.
#pragma once
#include "steps/operation.h"

namespace sovs {

// u8 numbers stand for scale * (u8 - zero_point); floats are rounded half to even, and to the nearest of what u8 or bf16 can
// say.
class ConvertStep final : public Step {
public:
    ConvertStep(const TensorDesc& input, const TensorDesc& output);

    long units() const override;
    int parts() const override { return parts_; }
    Range writes(long unit) const override;
    Range reads(long unit, std::size_t) const override { return writes(unit); }
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override;

private:
    // Channels' runs of pixels, one run after the other, to the narrow map.
    void narrow(const float* rows, std::int64_t pixels, const Map& map, std::int64_t pixel, std::int64_t channel,
                std::int32_t channels) const;
    // And a channel's from it.
    void widen(float* row, std::int64_t pixels, const Map& map, std::int64_t pixel, std::int64_t channel) const;

    bool narrows_;
    TensorDesc narrow_;  // the map of u8 or bf16, whose tiles are the units
    int parts_;
};

class Convert final : public Operation {
public:
    const char* name() const override { return "convert"; }
    std::unique_ptr<const Step> make(const StepPlace& place, int threads) const override;
    bool takes(const std::vector<DType>& inputs, DType output) const override;
};

}  // namespace sovs
