#include "conv/depthwise_backend.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

constexpr const char* kName = "depthwise";
constexpr std::int64_t kRows = 28;     // of a unit, at most: taller ones copy fewer rows twice
constexpr std::int64_t kChannels = 8;  // of a part

class DepthwiseStep final : public Step {
public:
    explicit DepthwiseStep(const ConvCase& conv);

    long units() const override { return static_cast<long>(output_.n * bands_); }
    const char* backend() const override { return kName; }
    int parts() const override;
    Range writes(long unit) const override;
    Range reads(long unit, std::size_t input) const override;
    void run(long unit, int part, const StepMaps& maps) const override;

private:
    std::shared_ptr<const Weights> weights_;
    std::shared_ptr<const PackedWeights> packed_;
    const float* values_;  // of the packed weights
    ConvParams params_;
    TensorDesc input_, output_;
    std::int64_t rows_, bands_;          // output rows of a unit; units of an image
    std::int64_t pitch_;                 // floats of a padded input row
    std::int64_t reach_;                 // rows and floats that the taps read past an output's own
    std::vector<std::int32_t> offsets_;  // of each stored weight, into the padded rows
};

DepthwiseStep::DepthwiseStep(const ConvCase& conv)
    : weights_(conv.weights),
      packed_(weights_->packed()),
      values_(packed_->values.f32().data()),
      params_(conv.params),
      input_(conv.input),
      output_(conv.output) {
    const ConvShape shape = checked_shape(*weights_, params_, input_, output_);
    bands_ = (output_.h + kRows - 1) / kRows;
    rows_ = (output_.h + bands_ - 1) / bands_;
    bands_ = (output_.h + rows_ - 1) / rows_;
    pitch_ = output_.w + (shape.kernel_w - 1) * params_.dilation_w;
    reach_ = (shape.kernel_h - 1) * params_.dilation_h;
    for (const std::uint32_t tap : packed_->structure.keys)
        offsets_.push_back(static_cast<std::int32_t>(tap / shape.kernel_w * params_.dilation_h * pitch_ +
                                                     tap % shape.kernel_w * params_.dilation_w));
}

int DepthwiseStep::parts() const { return static_cast<int>((output_.c + kChannels - 1) / kChannels); }

Range DepthwiseStep::writes(long unit) const {
    const std::int64_t begin = unit % bands_ * rows_;
    return rows_of(output_, unit / bands_, begin, std::min(begin + rows_, output_.h));
}

Range DepthwiseStep::reads(long unit, std::size_t input) const {
    if (input > 0) return writes(unit);  // the residual
    const std::int64_t first = unit % bands_ * rows_ - params_.pad_h;
    const std::int64_t begin = std::clamp<std::int64_t>(first, 0, input_.h);
    return rows_of(input_, unit / bands_, begin, std::clamp(first + rows_ + reach_, begin, input_.h));
}

void DepthwiseStep::run(long unit, int part, const StepMaps& maps) const {
    const KernelTable& table = kernels();
    const std::int64_t image = unit / bands_, y0 = unit % bands_ * rows_;
    const std::int64_t rows = std::min(rows_, output_.h - y0), channel = part * kChannels;
    const auto channels = static_cast<std::int32_t>(std::min(kChannels, output_.c - channel));
    const std::int64_t lanes = (rows * pitch_ + table.width - 1) / table.width * table.width;
    // Past the last row, vectors read on by up to one row and one vector.
    const std::int64_t plane = (rows_ + reach_ + 1) * pitch_ + 2 * table.width;
    Scratch scratch;
    float* const planes = scratch.take(kChannels * plane);
    float* const sums = scratch.take(kChannels * lanes);

    const auto begin = static_cast<std::int32_t>(std::min(params_.pad_w, pitch_));
    const auto end = static_cast<std::int32_t>(std::clamp<std::int64_t>(params_.pad_w + input_.w, begin, pitch_));
    for (std::int64_t r = 0; r < rows + reach_; ++r) {
        const std::int64_t y = y0 + r - params_.pad_h;
        float* row = planes + r * pitch_;
        if (y < 0 || y >= input_.h) {
            table.clear(row, plane, channels, static_cast<std::int32_t>(pitch_));
            continue;
        }
        if (begin > 0) table.clear(row, plane, channels, begin);
        if (end < pitch_) table.clear(row + end, plane, channels, static_cast<std::int32_t>(pitch_ - end));
        load_rows(maps.inputs[0], (image * input_.h + y) * input_.w, channel, channels, end - begin, row + begin,
                  plane);
    }
    DepthwiseTask task;
    task.pixels = lanes;
    for (std::int32_t c = 0; c < channels; ++c) {
        const std::int64_t first = packed_->structure.row_ptr[channel + c];
        task.plane = planes + c * plane;
        task.offsets = offsets_.data() + first;
        task.weights = values_ + first;
        task.taps = static_cast<std::int32_t>(packed_->structure.row_ptr[channel + c + 1] - first);
        task.bias = weights_->bias()[channel + c];
        task.out = sums + c * lanes;
        table.depthwise(task);
    }
    StoreTask store;
    store.sums_stride = lanes;
    store.channels = channels;
    Epilogue& epilogue = store.epilogue;
    epilogue = {nullptr, nullptr, maps.output.channel_stride(), maps.output.pixel_stride(), params_.activation};
    const std::ptrdiff_t first = channel * epilogue.channel_stride;
    for (std::int64_t r = 0; r < rows; ++r) {
        std::int64_t pixel = (image * output_.h + y0 + r) * output_.w;
        store.sums = sums + r * pitch_;
        for (std::int64_t left = output_.w; left > 0; left -= store.pixels) {
            store.pixels = static_cast<std::int32_t>(std::min(left, maps.output.run(pixel)));
            epilogue.out = maps.output.at(pixel) + first;
            epilogue.residual = maps.inputs[1].data == nullptr ? nullptr : maps.inputs[1].at(pixel) + first;
            table.store(store);
            pixel += store.pixels;
            store.sums += store.pixels;
        }
    }
}

class DepthwiseBackend final : public ConvBackend {
public:
    const char* name() const override { return kName; }

    bool fits(const ConvCase& conv) const override {
        const WeightSizes& w = conv.weights->sizes();
        return conv.input.dtype == DType::f32 && w.in_channels == 1 && w.groups == w.out_channels && w.groups > 1 &&
               w.block.rows == 1 && conv.params.stride_h == 1 && conv.params.stride_w == 1 &&
               (conv.params.activation <= Activation::relu || conv.params.activation == Activation::relu6);
    }

    std::unique_ptr<const Step> make(const ConvCase& conv, const Tuning&, int) const override {
        return std::make_unique<const DepthwiseStep>(conv);
    }
};

}  // namespace

const ConvBackend& depthwise_backend() {
    static const DepthwiseBackend backend;
    return backend;
}

}  // namespace sovs
