// What turns the sums of an int8 convolution into bytes of its output's map, channel by channel.
#pragma once
#include <cstdint>
#include <vector>

#include "conv/backend.h"
#include "kernels/tasks/byte_epilogue.h"

namespace sovs {

// Computed in double precision and rounded once: the same on every machine.
class ByteScales {
public:
    // sums: (out_channels) of each one's weights. padded: channels that kernels read numbers of.
    ByteScales(const ConvCase& conv, const std::vector<std::int64_t>& sums, std::int64_t padded);

    const std::int32_t* start() const { return start_.data(); }  // (padded): what sums start from
    // `lane` pixels behind a pixel, in the same tile and what fills it up.
    ByteEpilogue epilogue(const StepMaps& maps, std::int64_t pixel, std::int64_t lane) const;

private:
    std::vector<std::int32_t> start_;
    std::vector<float> scale_, offset_;
    bool makes_floats_;
    float residual_scale_ = 0.0f;
    float most_ = 255.0f;
    std::uint8_t least_ = 0;
    Activation activation_ = Activation::none;  // beside what most_ and least_ are
    float inverse_scale_, zero_point_;
};

}  // namespace sovs
