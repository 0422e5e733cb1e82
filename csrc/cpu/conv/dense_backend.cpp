#include "conv/dense_backend.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/isa.h"
#include "kernels/map_rows.h"

namespace sovs {
namespace {

constexpr const char* kName = "dense";

class DenseStep final : public Step {
public:
    explicit DenseStep(const ConvCase& conv);

    long units() const override { return static_cast<long>(output_.n * output_.h); }
    int parts() const override { return 1; }
    Range writes(long unit) const override;
    Range reads(long unit, std::size_t) const override;
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return kName; }

private:
    std::shared_ptr<const Weights> weights_;
    ConvParams params_;
    ConvShape shape_;
    TensorDesc input_, output_;
    std::int64_t pitch_;                 // floats of a padded input row
    std::vector<std::int32_t> offsets_;  // (in_channels * taps,) into the padded rows (in_channels, kernel_h, pitch)
    std::shared_ptr<const AlignedBuffer<float>> matrix_;
};

DenseStep::DenseStep(const ConvCase& conv)
    : weights_(conv.weights),
      params_(conv.params),
      shape_(checked_shape(*weights_, params_, conv.input, conv.output)),
      input_(conv.input),
      output_(conv.output),
      pitch_((output_.w - 1) * params_.stride_w + (shape_.kernel_w - 1) * params_.dilation_w + 1) {
    require(output_.pixel_major(), "expected a pixel-major output");
    for (std::int64_t row = 0; row < shape_.in_channels * shape_.kernel_h; ++row)
        for (std::int64_t kx = 0; kx < shape_.kernel_w; ++kx)
            offsets_.push_back(static_cast<std::int32_t>(row * pitch_ + kx * params_.dilation_w));
    const std::int64_t pair = 2 * kernels().width;
    matrix_ = weights_->dense((output_.c + pair - 1) / pair * pair);
}

Range DenseStep::writes(long unit) const {
    return rows_of(output_, unit / output_.h, unit % output_.h, unit % output_.h + 1);
}

Range DenseStep::reads(long unit, std::size_t) const {
    const std::int64_t first = unit % output_.h * params_.stride_h - params_.pad_h;
    const std::int64_t last = first + (shape_.kernel_h - 1) * params_.dilation_h;
    const std::int64_t begin = std::clamp<std::int64_t>(first, 0, input_.h);
    return rows_of(input_, unit / output_.h, begin, std::clamp<std::int64_t>(last + 1, begin, input_.h));
}

void DenseStep::run(long unit, int, const StepMaps& maps) const {
    const std::int64_t image = unit / output_.h, y0 = unit % output_.h * params_.stride_h - params_.pad_h;
    const auto channels = static_cast<std::int32_t>(shape_.in_channels);
    Scratch scratch;
    float* const padded_rows = scratch.take(channels * shape_.kernel_h * pitch_);
    const std::int64_t begin = std::min(params_.pad_w, pitch_);
    const std::int64_t end = std::clamp<std::int64_t>(params_.pad_w + input_.w, begin, pitch_);
    for (std::int64_t ky = 0; ky < shape_.kernel_h; ++ky) {
        const std::int64_t y = y0 + ky * params_.dilation_h;
        float* row = padded_rows + ky * pitch_;
        const std::ptrdiff_t stride = shape_.kernel_h * pitch_;
        if (y < 0 || y >= input_.h) {
            kernels().clear(row, stride, channels, static_cast<std::int32_t>(pitch_));
            continue;
        }
        if (begin > 0) kernels().clear(row, stride, channels, static_cast<std::int32_t>(begin));
        if (end < pitch_) kernels().clear(row + end, stride, channels, static_cast<std::int32_t>(pitch_ - end));
        load_rows(maps.inputs[0], (image * input_.h + y) * input_.w, 0, channels, end - begin, row + begin, stride);
    }
    DenseTask task;
    task.panel = padded_rows;
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

class DenseBackend final : public ConvBackend {
public:
    const char* name() const override { return kName; }

    bool fits(const ConvCase& conv) const override {
        constexpr std::int64_t kMost = 256;  // products an output: their input rows stay in the L1
        const WeightSizes& w = conv.weights->sizes();
        return conv.input.dtype == DType::f32 && !conv.alone && !conv.residual && conv.output.pixel_major() &&
               w.groups == 1 && w.in_channels * w.kernel_h * w.kernel_w <= kMost && conv.weights->density() > 0.9 &&
               conv.params.activation <= Activation::relu;
    }

    std::unique_ptr<const Step> make(const ConvCase& conv, const Tuning&, int) const override {
        return std::make_unique<const DenseStep>(conv);
    }
};

}  // namespace

const ConvBackend& dense_backend() {
    static const DenseBackend backend;
    return backend;
}

}  // namespace sovs
