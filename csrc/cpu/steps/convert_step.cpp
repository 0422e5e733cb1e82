#include "steps/convert_step.h"

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/byte_table.h"
#include "kernels/map_rows.h"
#include "kernels/quantize_rows.h"

namespace sovs {
namespace {

constexpr std::int32_t kChannels = 8;        // at a time, while their floats are in the L1
constexpr std::int64_t kPartChannels = 256;  // enough work to pay for handing it out

}  // namespace

ConvertStep::ConvertStep(const TensorDesc& input, const TensorDesc& output)
    : quantizes_(output.dtype == DType::u8),
      bytes_(quantizes_ ? output : input),
      parts_(static_cast<int>((output.c + kPartChannels - 1) / kPartChannels)) {
    require(input.same_shape(output), "expected a converted map of the input's shape");
}

long ConvertStep::units() const { return static_cast<long>(bytes_.tiles()); }

Range ConvertStep::writes(long unit) const {
    return {unit * bytes_.tile, std::min((unit + 1) * bytes_.tile, bytes_.pixels())};
}

void ConvertStep::run(long unit, int part, const StepMaps& maps) const {
    const Range range = writes(unit);
    const std::int64_t pixels = range.end - range.begin;
    const std::int64_t end = std::min<std::int64_t>(bytes_.c, (part + 1) * kPartChannels);
    const Map& bytes = quantizes_ ? maps.output : maps.inputs[0];
    const Quant& quant = bytes_.quant;
    Scratch scratch;
    float* const rows = scratch.take(kChannels * pixels);
    for (std::int64_t channel = part * kPartChannels; channel < end; channel += kChannels) {
        const auto some = static_cast<std::int32_t>(std::min<std::int64_t>(kChannels, end - channel));
        if (quantizes_) load_rows(maps.inputs[0], range.begin, channel, some, pixels, rows, pixels);
        if (quantizes_) {
            quantize_rows(bytes, quant, range.begin, channel, some, pixels, rows, pixels);
            continue;
        }
        for (std::int32_t c = 0; c < some; ++c) {
            const std::uint8_t* row = bytes.at<std::uint8_t>(range.begin) + (channel + c) * bytes.channel_stride();
            byte_kernels().dequantize({row, pixels, quant.scale, quant.zero_point, rows + c * pixels});
        }
        store_rows(maps.output, range.begin, channel, some, pixels, rows);
    }
}

bool Convert::takes(const std::vector<DType>& inputs, DType output) const {
    return (inputs[0] == DType::f32 && output == DType::u8) || (inputs[0] == DType::u8 && output == DType::f32);
}

std::unique_ptr<const Step> Convert::make(const StepPlace& place, int) const {
    return std::make_unique<const ConvertStep>(place.inputs[0], place.output);
}

}  // namespace sovs
