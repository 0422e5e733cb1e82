#include "conv/winograd_step.h"

#include <numeric>

#include "base/error.h"
#include "kernels/isa.h"

namespace sovs {
namespace {

constexpr std::int32_t kQuads = 24;  // a time: their 16 points of input and output stay in the L2

// Each thread's own working memory.
struct Scratch {
    AlignedBuffer<float> inputs, outputs;
};
thread_local Scratch scratch;

}  // namespace

bool WinogradStep::fits(const Weights& weights, const ConvParams& p) {
    constexpr std::int64_t kFewest = 16;  // channels that pay for the transforms
    const WeightSizes& w = weights.sizes();
    return w.kernel_h == 3 && w.kernel_w == 3 && w.groups == 1 && p.stride_h == 1 && p.stride_w == 1 && p.pad_h == 1 &&
           p.pad_w == 1 && p.dilation_h == 1 && p.dilation_w == 1 && p.activation <= Activation::relu && w.in_channels >= kFewest &&
           w.out_channels >= kFewest && weights.density() > 0.9;
}

WinogradStep::WinogradStep(std::shared_ptr<const Weights> weights, const ConvParams& params, const TensorDesc& input,
                           const TensorDesc& output)
    : weights_(std::move(weights)), relu_(params.activation == Activation::relu), input_(input), output_(output), rows_((output.h + 1) / 2) {
    checked_shape(*weights_, params, input, output);
    require(fits(*weights_, params), "expected a dense 3x3 convolution of stride 1 and padding 1");
    require(input.pixel_major() && output.pixel_major(), "expected pixel-major maps");
    const std::int64_t pair = 2 * kernels().width;
    padded_ = (output.c + pair - 1) / pair * pair;
    points_ = weights_->winograd(padded_);
    offsets_.resize(static_cast<std::size_t>(input.c));
    std::iota(offsets_.begin(), offsets_.end(), 0);
}

Range WinogradStep::writes(long unit) const {
    const std::int64_t y = 2 * (unit % rows_);
    return rows_of(output_, unit / rows_, y, std::min(y + 2, output_.h));
}

Range WinogradStep::reads(long unit) const {
    const std::int64_t y = 2 * (unit % rows_);
    return rows_of(input_, unit / rows_, std::max<std::int64_t>(0, y - 1), std::min(y + 3, input_.h));
}

void WinogradStep::run(long unit, int, const StepMaps& maps) const {
    const KernelTable& table = kernels();
    const std::int64_t image = unit / rows_, y0 = 2 * (unit % rows_);
    const std::int64_t channels = input_.c, quads = (output_.w + 1) / 2;
    scratch.inputs.reserve(static_cast<std::size_t>(16 * kQuads * channels));
    scratch.outputs.reserve(static_cast<std::size_t>(16 * kQuads * padded_));

    const float* in_rows[4];
    for (int r = 0; r < 4; ++r) {
        const std::int64_t y = y0 - 1 + r;
        in_rows[r] = y < 0 || y >= input_.h ? nullptr : maps.input.at((image * input_.h + y) * input_.w);
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
            task.points = scratch.inputs.data() + q * channels;
            task.point_stride = kQuads * channels;
            table.patch(task);
        }
        for (int point = 0; point < 16; ++point) {
            DenseTask task;
            task.panel = scratch.inputs.data() + point * kQuads * channels;
            task.offsets = offsets_.data();
            task.depth = static_cast<std::int32_t>(channels);
            task.pixels = count;
            task.pixel_stride = channels;
            task.weights = points_->data() + point * channels * padded_;
            task.bias = nullptr;
            task.out = scratch.outputs.data() + point * kQuads * padded_;
            task.out_stride = padded_;
            task.channels = static_cast<std::int32_t>(output_.c);
            task.relu = false;
            table.dense(task);
        }
        for (std::int32_t q = 0; q < count; ++q) {
            const std::int64_t x = 2 * (first + q);
            QuadTask task;
            task.points = scratch.outputs.data() + q * padded_;
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

}  // namespace sovs
