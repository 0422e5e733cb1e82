#include "conv/dense_step.h"

#include "base/error.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

thread_local AlignedBuffer<float> padded_rows;

}  // namespace

bool DenseStep::fits(const Weights& weights, const ConvParams& p) {
    constexpr std::int64_t kMost = 256;  // products an output: their input rows stay in the L1
    const WeightSizes& w = weights.sizes();
    return w.groups == 1 && w.in_channels * w.kernel_h * w.kernel_w <= kMost && weights.density() > 0.9 &&
           p.activation <= Activation::relu;
}

DenseStep::DenseStep(std::shared_ptr<const Weights> weights, const ConvParams& params, const TensorDesc& input,
                     const TensorDesc& output)
    : weights_(std::move(weights)),
      params_(params),
      shape_(checked_shape(*weights_, params, input, output)),
      input_(input),
      output_(output),
      pitch_((output.w - 1) * params.stride_w + (shape_.kernel_w - 1) * params.dilation_w + 1) {
    require(fits(*weights_, params), "expected a dense convolution of few input channels");
    require(output.pixel_major(), "expected a pixel-major output");
    for (std::int64_t row = 0; row < shape_.in_channels * shape_.kernel_h; ++row)
        for (std::int64_t kx = 0; kx < shape_.kernel_w; ++kx)
            offsets_.push_back(static_cast<std::int32_t>(row * pitch_ + kx * params.dilation_w));
    const std::int64_t pair = 2 * kernels().width;
    matrix_ = weights_->dense((output.c + pair - 1) / pair * pair);
}

Range DenseStep::writes(long unit) const { return rows_of(output_, unit / output_.h, unit % output_.h, unit % output_.h + 1); }

Range DenseStep::reads(long unit) const {
    const std::int64_t first = unit % output_.h * params_.stride_h - params_.pad_h;
    const std::int64_t last = first + (shape_.kernel_h - 1) * params_.dilation_h;
    const std::int64_t begin = std::clamp<std::int64_t>(first, 0, input_.h);
    return rows_of(input_, unit / output_.h, begin, std::clamp<std::int64_t>(last + 1, begin, input_.h));
}

void DenseStep::run(long unit, int, const StepMaps& maps) const {
    const std::int64_t image = unit / output_.h, y0 = unit % output_.h * params_.stride_h - params_.pad_h;
    const auto channels = static_cast<std::int32_t>(shape_.in_channels);
    padded_rows.reserve(static_cast<std::size_t>(channels * shape_.kernel_h * pitch_));
    const std::int64_t begin = std::min(params_.pad_w, pitch_);
    const std::int64_t end = std::clamp<std::int64_t>(params_.pad_w + input_.w, begin, pitch_);
    for (std::int64_t ky = 0; ky < shape_.kernel_h; ++ky) {
        const std::int64_t y = y0 + ky * params_.dilation_h;
        float* row = padded_rows.data() + ky * pitch_;
        const std::ptrdiff_t stride = shape_.kernel_h * pitch_;
        if (y < 0 || y >= input_.h) {
            kernels().clear(row, stride, channels, static_cast<std::int32_t>(pitch_));
            continue;
        }
        if (begin > 0) kernels().clear(row, stride, channels, static_cast<std::int32_t>(begin));
        if (end < pitch_) kernels().clear(row + end, stride, channels, static_cast<std::int32_t>(pitch_ - end));
        load_rows(maps.input, (image * input_.h + y) * input_.w, 0, channels, end - begin, row + begin, stride);
    }
    DenseTask task;
    task.panel = padded_rows.data();
    task.offsets = offsets_.data();
    task.depth = static_cast<std::int32_t>(offsets_.size());
    task.pixels = static_cast<std::int32_t>(output_.w);
    task.pixel_stride = params_.stride_w;
    task.weights = matrix_->data();
    task.bias = weights_->bias();
    task.out = maps.output.at(writes(unit).begin);
    task.out_stride = output_.c;
    task.channels = static_cast<std::int32_t>(output_.c);
    task.relu = params_.activation == Activation::relu;
    kernels().dense(task);
}

}  // namespace sovs
