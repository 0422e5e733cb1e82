// Copies a map into another one of the same shape and other tiles: to and from the caller's layouts.
#pragma once
#include "steps/operation.h"

namespace sovs {

class CopyStep final : public Step {
public:
    CopyStep(const TensorDesc& input, const TensorDesc& output);

    long units() const override;
    int parts() const override { return 1; }
    Range writes(long unit) const override;
    Range reads(long unit, std::size_t) const override { return writes(unit); }
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return "copy"; }

private:
    TensorDesc output_;
    std::int64_t pixels_a_unit_;
};

// What plans put in themselves.
class Copy final : public Operation {
public:
    const char* name() const override { return "copy"; }
    std::unique_ptr<const Step> make(const StepPlace& place, int threads) const override;
};

}  // namespace sovs
