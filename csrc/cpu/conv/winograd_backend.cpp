#include "conv/winograd_backend.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/isa.h"

namespace sovs {
namespace {

constexpr const char* kName = "winograd";
constexpr std::int32_t kQuads = 24;  // a time: their 16 points of input and output stay in the L2

class WinogradStep final : public Step {
public:
    explicit WinogradStep(const ConvCase& conv);

    long units() const override { return static_cast<long>(output_.n * rows_); }
    int parts() const override { return 1; }
    Range writes(long unit) const override;
    Range reads(long unit, std::size_t) const override;
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return kName; }

private:
    std::shared_ptr<const Weights> weights_;
    bool relu_;
    TensorDesc input_, output_;
    std::int64_t rows_;    // of 2x2 pixels in an image
    std::int64_t padded_;  // output channels in whole pairs of vectors
    std::shared_ptr<const AlignedBuffer<float>> points_;
    std::vector<std::int32_t> offsets_;  // of a pixel's channels, which lie side by side
};

WinogradStep::WinogradStep(const ConvCase& conv)
    : weights_(conv.weights),
      relu_(conv.params.activation == Activation::relu),
      input_(conv.input),
      output_(conv.output),
      rows_((output_.h + 1) / 2) {
    checked_shape(*weights_, conv.params, input_, output_);
    require(input_.pixel_major() && output_.pixel_major(), "expected pixel-major maps");
    const std::int64_t pair = 2 * kernels().width;
    padded_ = (output_.c + pair - 1) / pair * pair;
    points_ = weights_->winograd(padded_);
    offsets_.resize(static_cast<std::size_t>(input_.c));
    std::iota(offsets_.begin(), offsets_.end(), 0);
}

Range WinogradStep::writes(long unit) const {
    const std::int64_t y = 2 * (unit % rows_);
    return rows_of(output_, unit / rows_, y, std::min(y + 2, output_.h));
}

Range WinogradStep::reads(long unit, std::size_t) const {
    const std::int64_t y = 2 * (unit % rows_);
    return rows_of(input_, unit / rows_, std::max<std::int64_t>(0, y - 1), std::min(y + 3, input_.h));
}

void WinogradStep::run(long unit, int, const StepMaps& maps) const {
    const KernelTable& table = kernels();
    const std::int64_t image = unit / rows_, y0 = 2 * (unit % rows_);
    const std::int64_t channels = input_.c, quads = (output_.w + 1) / 2;
    Scratch scratch;
    float* const inputs = scratch.take(16 * kQuads * channels);
    float* const outputs = scratch.take(16 * kQuads * padded_);

    const float* in_rows[4];
    for (int r = 0; r < 4; ++r) {
        const std::int64_t y = y0 - 1 + r;
        in_rows[r] = y < 0 || y >= input_.h ? nullptr : maps.inputs[0].at((image * input_.h + y) * input_.w);
    }
    float* out_rows[2];
    for (int r = 0; r < 2; ++r)
        out_rows[r] = y0 + r >= output_.h ? nullptr : maps.output.at((image * output_.h + y0 + r) * output_.w);

    for (std::int64_t first = 0; first < quads; first += kQuads) {
        const auto count = static_cast<std::int32_t>(std::min<std::int64_t>(kQuads, quads - first));
        for (std::int32_t q = 0; q < count; ++q) {
            const std::int64_t x = 2 * (first + q) - 1;
            PatchTask task;
            for (int r = 0; r < 4; ++r) task.rows[r] = in_rows[r] == nullptr ? nullptr : in_rows[r] + x * channels;
            task.pixel_stride = channels;
            task.x0 = x < 0 ? 1 : 0;
            task.x1 = static_cast<std::int32_t>(std::min<std::int64_t>(4, input_.w - x));
            task.channels = static_cast<std::int32_t>(channels);
            task.points = inputs + q * channels;
            task.point_stride = kQuads * channels;
            table.patch(task);
        }
        for (int point = 0; point < 16; ++point) {
            DenseTask task;
            task.panel = inputs + point * kQuads * channels;
            task.offsets = offsets_.data();
            task.depth = static_cast<std::int32_t>(channels);
            task.pixels = count;
            task.pixel_stride = channels;
            task.weights = points_->data() + point * channels * padded_;
            task.bias = nullptr;
            task.out = outputs + point * kQuads * padded_;
            task.out_stride = padded_;
            task.channels = static_cast<std::int32_t>(output_.c);
            task.relu = false;
            table.dense(task);
        }
        for (std::int32_t q = 0; q < count; ++q) {
            const std::int64_t x = 2 * (first + q);
            QuadTask task;
            task.points = outputs + q * padded_;
            task.point_stride = kQuads * padded_;
            task.bias = weights_->bias();
            for (int r = 0; r < 2; ++r) task.rows[r] = out_rows[r] == nullptr ? nullptr : out_rows[r] + x * output_.c;
            task.pixel_stride = output_.c;
            task.cols = static_cast<std::int32_t>(std::min<std::int64_t>(2, output_.w - x));
            task.channels = static_cast<std::int32_t>(output_.c);
            task.relu = relu_;
            table.quad(task);
        }
    }
}

class WinogradBackend final : public ConvBackend {
public:
    const char* name() const override { return kName; }

    bool fits(const ConvCase& conv) const override {
        constexpr std::int64_t kFewest = 16;       // channels that pay for the transforms
        constexpr std::int64_t kFewestAlone = 64;  // and for copies to these layouts and back
        const WeightSizes& w = conv.weights->sizes();
        const ConvParams& p = conv.params;
        const bool dense_3x3 = w.kernel_h == 3 && w.kernel_w == 3 && w.groups == 1 && p.stride_h == 1 &&
                               p.stride_w == 1 && p.pad_h == 1 && p.pad_w == 1 && p.dilation_h == 1 &&
                               p.dilation_w == 1 && conv.weights->density() > 0.9;
        const bool pixel_major = conv.input.pixel_major() && conv.output.pixel_major();
        return dense_3x3 && conv.input.dtype == DType::f32 && p.activation <= Activation::relu && !conv.residual &&
               (conv.alone || conv.free_maps || pixel_major) &&
               std::min(w.in_channels, w.out_channels) >= (conv.alone ? kFewestAlone : kFewest);
    }

    // Where it stands alone, too: between copies it is faster than any other dense 3x3 kernel.
    std::optional<Layouts> layouts(const ConvCase&) const override {
        return Layouts{TensorDesc::kNhwc, TensorDesc::kNhwc};
    }

    std::unique_ptr<const Step> make(const ConvCase& conv, const Tuning&, int) const override {
        return std::make_unique<const WinogradStep>(conv);
    }
};

}  // namespace

const ConvBackend& winograd_backend() {
    static const WinogradBackend backend;
    return backend;
}

}  // namespace sovs
