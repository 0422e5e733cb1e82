// What bf16 convolutions start their sums from, and what turns these into numbers of the output's map.
#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "conv/backend.h"
#include "kernels/tasks/bf16_epilogue.h"

namespace sovs {

class Bf16Sums {
public:
    // padded: channels that kernels read a bias of.
    Bf16Sums(const ConvCase& conv, std::int64_t padded);

    const float* bias() const { return bias_.data(); }
    std::int32_t channels() const { return channels_; }
    // `lane` pixels behind a pixel, in the same tile and what fills it up.
    Bf16Epilogue epilogue(const StepMaps& maps, std::int64_t pixel, std::int64_t lane) const;

private:
    std::vector<float> bias_;
    std::int32_t channels_;
    float least_ = -std::numeric_limits<float>::infinity(), most_ = std::numeric_limits<float>::infinity();
};

// Whether there are kernels of bf16 for the convolution's types of numbers and its activation.
bool bf16_case(const ConvCase& conv);

}  // namespace sovs
