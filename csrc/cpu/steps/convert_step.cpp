#include "steps/convert_step.h"

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/bf16_table.h"
#include "kernels/byte_table.h"
#include "kernels/map_rows.h"
#include "kernels/quantize_rows.h"

namespace sovs {
namespace {

constexpr std::int32_t kChannels = 8;        // at a time, while their floats are in the L1
constexpr std::int64_t kPartChannels = 256;  // enough work to pay for handing it out

}  // namespace

ConvertStep::ConvertStep(const TensorDesc& input, const TensorDesc& output)
    : narrows_(output.in_lines()),
      narrow_(narrows_ ? output : input),
      parts_(static_cast<int>((output.c + kPartChannels - 1) / kPartChannels)) {
    require(input.same_shape(output), "expected a converted map of the input's shape");
}

const char* ConvertStep::backend() const {
    if (narrow_.dtype == DType::bf16) return narrows_ ? "to bf16" : "from bf16";
    return narrows_ ? "quantize" : "dequantize";
}

long ConvertStep::units() const { return static_cast<long>(narrow_.tiles()); }

Range ConvertStep::writes(long unit) const {
    return {unit * narrow_.tile, std::min((unit + 1) * narrow_.tile, narrow_.pixels())};
}

void ConvertStep::narrow(const float* rows, std::int64_t pixels, const Map& map, std::int64_t pixel,
                         std::int64_t channel, std::int32_t channels) const {
    if (narrow_.dtype != DType::bf16)
        return quantize_rows(map, narrow_.quant, pixel, channel, channels, pixels, rows, pixels);
    for (std::int32_t c = 0; c < channels; ++c)
        bf16_kernels()->narrow(map.at<std::uint16_t>(pixel) + (channel + c) * map.channel_stride(), rows + c * pixels,
                               pixels);
}

void ConvertStep::widen(float* row, std::int64_t pixels, const Map& map, std::int64_t pixel,
                        std::int64_t channel) const {
    const std::ptrdiff_t place = channel * map.channel_stride();
    const Quant& quant = narrow_.quant;
    if (narrow_.dtype == DType::bf16)
        bf16_kernels()->widen(row, map.at<std::uint16_t>(pixel) + place, pixels);
    else
        byte_kernels().dequantize({map.at<std::uint8_t>(pixel) + place, pixels, quant.scale, quant.zero_point, row});
}

void ConvertStep::run(long unit, int part, const StepMaps& maps) const {
    const Range range = writes(unit);
    const std::int64_t pixels = range.end - range.begin;
    const std::int64_t end = std::min<std::int64_t>(narrow_.c, (part + 1) * kPartChannels);
    Scratch scratch;
    float* const rows = scratch.take(kChannels * pixels);
    for (std::int64_t channel = part * kPartChannels; channel < end; channel += kChannels) {
        const auto some = static_cast<std::int32_t>(std::min<std::int64_t>(kChannels, end - channel));
        if (narrows_) {
            load_rows(maps.inputs[0], range.begin, channel, some, pixels, rows, pixels);
            narrow(rows, pixels, maps.output, range.begin, channel, some);
            continue;
        }
        for (std::int32_t c = 0; c < some; ++c)
            widen(rows + c * pixels, pixels, maps.inputs[0], range.begin, channel + c);
        store_rows(maps.output, range.begin, channel, some, pixels, rows);
    }
}

bool Convert::takes(const std::vector<DType>& inputs, DType output) const {
    const auto narrow = [](DType type) { return type == DType::u8 || type == DType::bf16; };
    return (inputs[0] == DType::f32 && narrow(output)) || (narrow(inputs[0]) && output == DType::f32);
}

std::unique_ptr<const Step> Convert::make(const StepPlace& place, int) const {
    return std::make_unique<const ConvertStep>(place.inputs[0], place.output);
}

}  // namespace sovs
