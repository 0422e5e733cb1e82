#include "conv/depthwise_step.h"

#include "base/error.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

constexpr std::int64_t kRows = 28;       // of a unit, at most: taller ones copy fewer rows twice
constexpr std::int64_t kChannels = 8;    // of a part

thread_local AlignedBuffer<float> planes, sums;

}  // namespace

bool DepthwiseStep::fits(const Weights& weights, const ConvParams& p) {
    const WeightSizes& w = weights.sizes();
    return w.in_channels == 1 && w.groups == w.out_channels && w.groups > 1 && w.block_rows == 1 && p.stride_h == 1 &&
           p.stride_w == 1 && p.activation <= Activation::relu;
}

DepthwiseStep::DepthwiseStep(std::shared_ptr<const Weights> weights, const ConvParams& params, const TensorDesc& input,
                             const TensorDesc& output)
    : weights_(std::move(weights)), packed_(weights_->packed()), params_(params), input_(input), output_(output) {
    const ConvShape shape = checked_shape(*weights_, params, input, output);
    require(fits(*weights_, params), "expected a depthwise convolution of stride 1");
    bands_ = (output.h + kRows - 1) / kRows;
    rows_ = (output.h + bands_ - 1) / bands_;
    bands_ = (output.h + rows_ - 1) / rows_;
    pitch_ = output.w + (shape.kernel_w - 1) * params.dilation_w;
    reach_ = (shape.kernel_h - 1) * params.dilation_h;
    for (const std::uint32_t tap : packed_->keys)
        offsets_.push_back(static_cast<std::int32_t>(tap / shape.kernel_w * params.dilation_h * pitch_ +
                                                     tap % shape.kernel_w * params.dilation_w));
}

int DepthwiseStep::parts() const { return static_cast<int>((output_.c + kChannels - 1) / kChannels); }

Range DepthwiseStep::writes(long unit) const {
    const std::int64_t begin = unit % bands_ * rows_;
    return rows_of(output_, unit / bands_, begin, std::min(begin + rows_, output_.h));
}

Range DepthwiseStep::reads(long unit) const {
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
    planes.reserve(static_cast<std::size_t>(kChannels * plane));
    sums.reserve(static_cast<std::size_t>(kChannels * (lanes + output_.w)));

    const auto begin = static_cast<std::int32_t>(std::min(params_.pad_w, pitch_));
    const auto end = static_cast<std::int32_t>(std::clamp<std::int64_t>(params_.pad_w + input_.w, begin, pitch_));
    for (std::int64_t r = 0; r < rows + reach_; ++r) {
        const std::int64_t y = y0 + r - params_.pad_h;
        float* row = planes.data() + r * pitch_;
        if (y < 0 || y >= input_.h) {
            table.clear(row, plane, channels, static_cast<std::int32_t>(pitch_));
            continue;
        }
        if (begin > 0) table.clear(row, plane, channels, begin);
        if (end < pitch_) table.clear(row + end, plane, channels, static_cast<std::int32_t>(pitch_ - end));
        load_rows(maps.input, (image * input_.h + y) * input_.w, channel, channels, end - begin, row + begin, plane);
    }
    DepthwiseTask task;
    task.pixels = lanes;
    for (std::int32_t c = 0; c < channels; ++c) {
        const std::int64_t first = packed_->row_ptr[channel + c];
        task.plane = planes.data() + c * plane;
        task.offsets = offsets_.data() + first;
        task.weights = packed_->values.data() + first;
        task.taps = static_cast<std::int32_t>(packed_->row_ptr[channel + c + 1] - first);
        task.bias = weights_->bias()[channel + c];
        task.out = sums.data() + c * lanes;
        table.depthwise(task);
    }
    StoreTask store;
    store.sums_stride = lanes;
    store.channels = channels;
    store.channel_stride = maps.output.channel_stride();
    store.pixel_stride = maps.output.pixel_stride();
    store.activation = params_.activation;
    for (std::int64_t r = 0; r < rows; ++r) {
        std::int64_t pixel = (image * output_.h + y0 + r) * output_.w;
        store.sums = sums.data() + r * pitch_;
        for (std::int64_t left = output_.w; left > 0; left -= store.pixels) {
            store.pixels = static_cast<std::int32_t>(std::min(left, maps.output.run(pixel)));
            store.out = maps.output.at(pixel) + channel * store.channel_stride;
            store.residual =
                maps.residual.data == nullptr ? nullptr : maps.residual.at(pixel) + channel * store.channel_stride;
            table.store(store);
            pixel += store.pixels;
            store.sums += store.pixels;
        }
    }
}

}  // namespace sovs
