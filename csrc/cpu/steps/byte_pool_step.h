// Average of 2x2 pixels of u8, rounded half up: the output has the input's scale and zero point. Or of bf16, summed in fp32
// and rounded half to even.
#pragma once
#include "steps/step.h"

namespace sovs {

class BytePoolStep final : public Step {
public:
    BytePoolStep(const TensorDesc& input, const TensorDesc& output);

    long units() const override { return static_cast<long>(output_.n * output_.h); }
    int parts() const override { return parts_; }
    Range writes(long unit) const override;
    Range reads(long unit, std::size_t) const override;
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return output_.dtype == DType::u8 ? "int8 pool" : "bf16 pool"; }

private:
    template <typename Number, typename PoolRow>
    void pool(PoolRow pool_row, long unit, int part, const StepMaps& maps) const;

    TensorDesc input_, output_;
    int parts_;
};

}  // namespace sovs
