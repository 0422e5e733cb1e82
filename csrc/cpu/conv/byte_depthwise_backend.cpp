#include "conv/byte_depthwise_backend.h"

#include <algorithm>

#include "base/scratch.h"
#include "conv/byte_scales.h"
#include "conv/byte_stream_use.h"
#include "conv/byte_tuning.h"
#include "conv/byte_window_step.h"
#include "kernels/byte_table.h"

namespace sovs {
namespace {

constexpr const char* kName = "int8 depthwise";

// Of the channels, so that there is work for all threads.
int parts_of(const TensorDesc& output, int threads) {
    constexpr std::int64_t kUnitsAThread = 4, kLeastChannels = 8;
    if (threads == 1) return 1;
    const std::int64_t wanted = (kUnitsAThread * threads + output.tiles() - 1) / output.tiles();
    return static_cast<int>(std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(1, output.c / kLeastChannels)));
}

class ByteDepthwiseStep final : public ByteWindowStep {
public:
    ByteDepthwiseStep(const ConvCase& conv, int threads)
        : weights_(conv.weights),
          shape_(checked_shape(*weights_, conv.params, conv.input, conv.output)),
          zero_(static_cast<std::uint8_t>(conv.input.quant.zero_point)),
          windows_(shape_, conv.input, conv.in_windows(), conv.in_windows().pitch(), used_taps(*weights_)),
          stream_(weights_->byte_stream(
              shared_layout(*weights_, {1, parts_of(conv.output, threads), byte_kernels().adds_pairs_in_16_bits}))),
          line_bytes_(windows_.line_bytes()),
          scales_(conv, stream_->sums, conv.output.c),
          tiling_(byte_tiling(windows_.width(), 1, parts(), true)) {}

    int parts() const override { return static_cast<int>(stream_->parts.size()); }
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return kName; }

private:
    const ByteWindows& windows() const override { return windows_; }
    const Tiling& tiling() const override { return tiling_; }
    std::shared_ptr<const Weights> weights_;
    ConvShape shape_;
    std::uint8_t zero_;  // of the input
    ByteWindows windows_;
    std::shared_ptr<const ByteStream> stream_;
    std::int64_t line_bytes_;
    ByteScales scales_;
    Tiling tiling_;
};

void ByteDepthwiseStep::run(long unit, int number, const StepMaps& maps) const {
    const ByteStreamPart& part = stream_->parts[static_cast<std::size_t>(number)];
    const ByteWindow window = windows_.at(unit);
    thread_local ByteTaps taps;
    windows_.find_taps(window, zero_, taps);
    Scratch scratch;
    auto* const line =
        reinterpret_cast<std::uint8_t*>(scratch.take(line_bytes_ / static_cast<std::int64_t>(sizeof(float)) + 1));
    ByteDepthwiseTask task{};
    task.shifts = taps.sources.data();
    task.masks = taps.masks.data();
    task.width = static_cast<std::int32_t>(windows_.width());
    task.pixels = static_cast<std::int32_t>(window.end - window.begin);
    task.zero = zero_;
    task.epilogue = scales_.epilogue(maps, window.begin, 0);
    const auto* entry = reinterpret_cast<const ByteEntry<1>*>(stream_->entries.data() + part.first_byte);
    const std::int32_t* channel = part.row_ids.data();
    for (const ByteRowGroup& group : part.groups)
        for (std::int32_t row = 0; row < group.block_rows; ++row, ++channel, entry += group.entries) {
            task.entries = entry;
            task.count = group.entries;
            task.first = static_cast<std::int32_t>((*channel - part.channel_begin) * shape_.taps());
            task.line = windows_.shifted_line(taps, maps.inputs[0], *channel, line);
            task.start = scales_.start()[*channel];
            task.channel = *channel;
            byte_kernels().depthwise(task);
        }
}

class ByteDepthwiseBackend final : public ConvBackend {
public:
    const char* name() const override { return kName; }

    bool fits(const ConvCase& conv) const override {
        const WeightSizes& sizes = conv.weights->sizes();
        // Where pairs are added in 16 bits, each tap may need one that fills up.
        return conv.weights->dtype() == DType::s8 && conv.input.dtype == DType::u8 && sizes.in_channels == 1 &&
               sizes.groups == sizes.out_channels && sizes.groups > 1 && sizes.block.rows == 1 &&
               2 * sizes.taps() <= 4 * kMostDepthwiseEntries && sizes.out_channels * sizes.taps() < kMostPanelLines &&
               ByteWindows::shifts(conv.params.stride_h, conv.params.stride_w, conv.input, conv.output);
    }

    std::unique_ptr<const Step> make(const ConvCase& conv, const Tuning&, int threads) const override {
        return std::make_unique<const ByteDepthwiseStep>(conv, std::max(1, threads));
    }
};

}  // namespace

const ConvBackend& byte_depthwise_backend() {
    static const ByteDepthwiseBackend backend;
    return backend;
}

}  // namespace sovs
