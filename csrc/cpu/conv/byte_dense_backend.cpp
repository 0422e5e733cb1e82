#include "conv/byte_dense_backend.h"

#include <algorithm>

#include "base/scratch.h"
#include "conv/byte_scales.h"
#include "conv/byte_stream_use.h"
#include "conv/byte_tuning.h"
#include "conv/byte_window_step.h"
#include "kernels/byte_table.h"

namespace sovs {
namespace {

constexpr const char* kName = "int8 dense";
// Panels of a window stay in the L2 beside the weights that they meet.
constexpr std::int64_t kPanelBytes = 400 << 10;
// Work is handed out in this many units a thread, or more.
constexpr std::int64_t kUnitsAThread = 4;

// How a case is cut.
struct Cut {
    bool in_place;  // quads are made of the input's own tile
    std::int64_t width;
    int parts;
};

Cut choose_cut(const ConvShape& shape, const TensorDesc& input, const TensorDesc& output, const Tuning& tuning,
               std::int64_t blocks, int threads) {
    Cut cut{shape.pointwise() && input.tile == output.tile, output.pitch(), 1};
    if (!cut.in_place)
        cut.width = std::clamp(kPanelBytes / (shape.in_channels * shape.taps()) / kByteLine * kByteLine, kByteLine,
                               output.pitch());
    cut.width = tuned_width(tuning, output, cut.width, output.pitch());
    if (threads == 1) return cut;
    const std::int64_t wanted = kUnitsAThread * threads;
    const auto windows = [&] { return output.pixels() / cut.width; };
    while (windows() < wanted && cut.width > kByteLine) cut.width = whole_byte_lines(cut.width / 2);
    constexpr std::int64_t kLeastBlocks = 8;  // of a part: fewer do not pay for a panel of its own
    cut.parts = static_cast<int>(std::clamp<std::int64_t>(wanted / std::max<std::int64_t>(1, windows()), 1,
                                                          std::max<std::int64_t>(1, blocks / kLeastBlocks)));
    return cut;
}

class ByteDenseStep final : public ByteWindowStep {
public:
    ByteDenseStep(const ConvCase& conv, const Tuning& tuning, int threads);

    int parts() const override { return cut_.parts; }
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return kName; }

private:
    const ByteWindows& windows() const override { return windows_; }
    const Tiling& tiling() const override { return tiling_; }
    void multiply(const ByteTable& table, const std::uint8_t* panel, std::int64_t pixel, int part,
                  const StepMaps& maps) const;
    void run_in_place(const ByteWindow& window, int part, const StepMaps& maps) const;

    std::shared_ptr<const Weights> weights_;
    ConvShape shape_;
    TensorDesc output_;
    std::uint8_t zero_;   // of the input
    std::int32_t quads_;  // of a panel
    std::int64_t blocks_;
    Cut cut_;
    ByteWindows windows_;
    std::shared_ptr<const ByteQuads> matrix_;
    std::int64_t line_bytes_;
    ByteScales scales_;
    Tiling tiling_;
};

std::int64_t blocks_of(const Weights& weights) {
    const int rows = byte_kernels().dense_rows;
    return (weights.sizes().out_channels + rows - 1) / rows;
}

ByteDenseStep::ByteDenseStep(const ConvCase& conv, const Tuning& tuning, int threads)
    : weights_(conv.weights),
      shape_(checked_shape(*weights_, conv.params, conv.input, conv.output)),
      output_(conv.in_windows()),
      zero_(static_cast<std::uint8_t>(conv.input.quant.zero_point)),
      quads_(static_cast<std::int32_t>(quads_of(weights_->sizes()))),
      blocks_(blocks_of(*weights_)),
      cut_(choose_cut(shape_, conv.input, output_, tuning, blocks_, std::max(1, threads))),
      windows_(shape_, conv.input, output_, cut_.width, all_taps(weights_->sizes())),
      matrix_(weights_->byte_quads(byte_kernels().dense_rows)),
      line_bytes_(cut_.in_place ? 0 : windows_.line_bytes()),
      scales_(conv, matrix_->sums, blocks_ * byte_kernels().dense_rows),
      tiling_(byte_tiling(windows_.width(), shape_.in_channels, cut_.parts, cut_.in_place)) {}

void ByteDenseStep::multiply(const ByteTable& table, const std::uint8_t* panel, std::int64_t pixel, int part,
                             const StepMaps& maps) const {
    const auto first = static_cast<std::int32_t>(blocks_ * part / cut_.parts);
    const auto end = static_cast<std::int32_t>(blocks_ * (part + 1) / cut_.parts);
    table.dense({panel, quads_, matrix_->weights.data(), first, end - first, scales_.start(),
                 static_cast<std::int32_t>(output_.c), scales_.epilogue(maps, pixel, 0)});
}

// One vector of pixels at a time: its panel stays as near as may be.
void ByteDenseStep::run_in_place(const ByteWindow& window, int part, const StepMaps& maps) const {
    const std::int64_t channels = shape_.in_channels;
    Scratch scratch;
    auto* const panel =
        reinterpret_cast<std::uint8_t*>(scratch.take(quads_ * byte_kernels().bytes));  // 4 bytes a float
    for (std::int64_t pixel = window.begin; pixel < window.end; pixel += byte_kernels().bytes) {
        const ByteTable& table = byte_kernels_for(window.end - pixel);
        const std::int64_t quad_bytes = 4 * table.bytes;
        const std::uint8_t* const from = maps.inputs[0].at<std::uint8_t>(pixel);
        const std::ptrdiff_t stride = maps.inputs[0].channel_stride();
        ByteQuadTask task{{}, 1, panel, 0};
        for (std::int64_t channel = 0; channel < channels; channel += 4, task.panel += quad_bytes) {
            for (std::int64_t i = 0; i < 4; ++i)  // weights of channels past the last one are 0
                task.columns[i] = from + std::min(channel + i, channels - 1) * stride;
            table.quad(task);
        }
        multiply(table, panel, pixel, part, maps);
    }
}

void ByteDenseStep::run(long unit, int part, const StepMaps& maps) const {
    const ByteWindow window = windows_.at(unit);
    if (cut_.in_place) return run_in_place(window, part, maps);
    const ByteTable& table = byte_kernels();
    thread_local ByteTaps taps;
    windows_.find_taps(window, zero_, taps);
    Scratch scratch;
    const auto take = [&](std::int64_t bytes) {
        return reinterpret_cast<std::uint8_t*>(scratch.take(bytes / static_cast<std::int64_t>(sizeof(float)) + 1));
    };
    const std::int64_t width = windows_.width(), quad_bytes = 4 * table.bytes, panel_bytes = quads_ * quad_bytes;
    const auto vectors = static_cast<std::int32_t>((window.end - window.begin + table.bytes - 1) / table.bytes);
    std::uint8_t* const line = take(line_bytes_);
    std::uint8_t* const columns = take(4 * shape_.taps() * width + kByteLine);
    std::uint8_t* const panels = take(vectors * panel_bytes);
    ByteQuadTask task{{}, vectors, panels, panel_bytes};
    for (std::int64_t channel = 0; channel < shape_.in_channels; channel += 4) {
        const std::int64_t end = std::min(channel + 4, shape_.in_channels);
        windows_.pack(taps, maps.inputs[0], channel, end, zero_, line, columns);
        for (std::int64_t tap = 0; tap < shape_.taps(); ++tap, task.panel += quad_bytes) {
            for (std::int64_t i = 0; i < 4; ++i)
                task.columns[i] = columns + (std::min(i, end - channel - 1) * shape_.taps() + tap) * width;
            table.quad(task);
        }
    }
    for (std::int64_t v = 0; v < vectors; ++v)
        multiply(table, panels + v * panel_bytes, window.begin + v * table.bytes, part, maps);
}

class ByteDenseBackend final : public ConvBackend {
public:
    const char* name() const override { return kName; }

    bool fits(const ConvCase& conv) const override {
        const WeightSizes& sizes = conv.weights->sizes();
        return byte_kernels().dense != nullptr && conv.weights->dtype() == DType::s8 && conv.input.dtype == DType::u8 &&
               sizes.groups == 1 && sizes.columns() < kMostPanelLines && conv.weights->stores_all();
    }

    std::vector<Tuning> candidates(const ConvCase& conv, std::size_t most) const override {
        const ConvShape shape = checked_shape(*conv.weights, conv.params, conv.input, conv.output);
        const Cut cut = choose_cut(shape, conv.input, conv.in_windows(), Tuning{}, blocks_of(*conv.weights), 1);
        return width_candidates(conv.in_windows(), cut.width, cut.in_place ? 0 : conv.in_windows().pitch(), most);
    }

    std::unique_ptr<const Step> make(const ConvCase& conv, const Tuning& tuning, int threads) const override {
        return std::make_unique<const ByteDenseStep>(conv, tuning, threads);
    }
};

}  // namespace

const ConvBackend& byte_dense_backend() {
    static const ByteDenseBackend backend;
    return backend;
}

}  // namespace sovs
