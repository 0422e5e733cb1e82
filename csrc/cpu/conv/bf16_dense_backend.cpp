#include "conv/bf16_dense_backend.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "base/scratch.h"
#include "conv/bf16_sums.h"
#include "conv/byte_tuning.h"
#include "conv/byte_window_step.h"
#include "kernels/bf16_table.h"

namespace sovs {
namespace {

constexpr const char* kName = "bf16 dense";
// Panels of a window stay in the L2 beside the weights that they meet.
constexpr std::int64_t kPanelBytes = 800 << 10;
// Work is handed out in this many units a thread, or more.
constexpr std::int64_t kUnitsAThread = 4;
constexpr std::int64_t kPairBytes = 2 * kByteLine;  // of a vector of pixels

// How a case is cut.
struct Cut {
    bool in_place;  // pairs are made of the input's own tile
    std::int64_t width;
    int parts;
};

Cut choose_cut(const ConvShape& shape, const TensorDesc& input, const TensorDesc& output, const Tuning& tuning,
               std::int64_t blocks, int threads) {
    const std::int64_t line = output.line(), column = static_cast<std::int64_t>(size_of(output.dtype));
    const std::int64_t most = kPanelBytes / (shape.in_channels * shape.taps() * column);
    Cut cut{shape.pointwise() && input.tile == output.tile, std::clamp(most / line * line, line, output.pitch()), 1};
    cut.width = tuned_width(tuning, output, cut.width, output.pitch());
    if (threads == 1) return cut;
    const std::int64_t wanted = kUnitsAThread * threads;
    const auto windows = [&] { return output.pixels() / cut.width; };
    while (windows() < wanted && cut.width > line) cut.width = output.whole_lines(cut.width / 2);
    cut.parts = static_cast<int>(
        std::clamp<std::int64_t>(wanted / std::max<std::int64_t>(1, windows()), 1, std::max<std::int64_t>(1, blocks / 2)));
    return cut;
}

std::vector<std::int32_t> all_taps(const WeightSizes& sizes) {
    std::vector<std::int32_t> taps(static_cast<std::size_t>(sizes.taps()));
    std::iota(taps.begin(), taps.end(), 0);
    return taps;
}

std::int64_t blocks_of(const WeightSizes& sizes) {
    const int rows = bf16_kernels()->blocks.rows;
    return (sizes.out_channels + rows - 1) / rows;
}

// What a thread keeps from one window to the next one.
struct Working {
    std::array<ByteTaps, 2> taps;  // of the channels of a pair
    std::vector<std::int32_t> shifts;
    std::vector<std::uint32_t> masks;
};

class Bf16DenseStep final : public ByteWindowStep {
public:
    Bf16DenseStep(const ConvCase& conv, const Tuning& tuning, int threads);

    int parts() const override { return cut_.parts; }
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return kName; }

private:
    const ByteWindows& windows() const override { return windows_; }
    const Tiling& tiling() const override { return tiling_; }
    void make_panel(const ByteWindow& window, const Map& input, std::int32_t vectors, std::uint8_t* panel) const;

    std::shared_ptr<const Weights> weights_;
    ConvShape shape_;
    std::int64_t blocks_;
    Cut cut_;
    ByteWindows windows_;
    bool shifts_;  // taps are shifts in a channel's line
    std::shared_ptr<const Bf16Matrix> matrix_;
    std::int32_t pairs_;  // of a panel
    std::int64_t line_bytes_;
    Bf16Sums sums_;
    Tiling tiling_;
};

Bf16DenseStep::Bf16DenseStep(const ConvCase& conv, const Tuning& tuning, int threads)
    : weights_(conv.weights),
      shape_(checked_shape(*weights_, conv.params, conv.input, conv.output)),
      blocks_(blocks_of(weights_->sizes())),
      cut_(choose_cut(shape_, conv.input, conv.output, tuning, blocks_, std::max(1, threads))),
      windows_(shape_, conv.input, conv.output, cut_.width, all_taps(weights_->sizes())),
      shifts_(ByteWindows::shifts(shape_.stride_h, shape_.stride_w, conv.input, conv.output)),
      matrix_(weights_->bf16_matrix(bf16_kernels()->blocks)),
      pairs_(static_cast<std::int32_t>(pairs_of(weights_->sizes(), matrix_->blocks))),
      line_bytes_(cut_.in_place ? 0 : kByteLine * ((windows_.line_bytes() + kByteLine - 1) / kByteLine)),
      sums_(conv, blocks_ * bf16_kernels()->blocks.rows),
      tiling_(byte_tiling(windows_.width(), shape_.in_channels, cut_.parts, cut_.in_place)) {}

void Bf16DenseStep::make_panel(const ByteWindow& window, const Map& input, std::int32_t vectors,
                               std::uint8_t* panel) const {
    thread_local Working working;
    auto& [taps, shifts, masks] = working;
    Scratch scratch;
    const std::int64_t channels = shape_.in_channels, count = shape_.taps();
    const auto take = [&](std::int64_t bytes) {
        return reinterpret_cast<std::uint8_t*>(scratch.take(bytes / static_cast<std::int64_t>(sizeof(float)) + 1));
    };
    shifts.assign(static_cast<std::size_t>(count), 0);
    masks.assign(static_cast<std::size_t>(count * vectors), ~0u);
    std::uint8_t *line = nullptr, *columns = nullptr;
    if (!cut_.in_place) {
        windows_.find_taps(window, 0, taps[0]);
        line = take(2 * line_bytes_);
        if (shifts_) {
            taps[1] = taps[0];
            shifts = taps[0].sources;
            for (std::int64_t i = 0; i < count * vectors; ++i) {
                const std::uint8_t* bytes = &taps[0].masks[static_cast<std::size_t>(
                    i / vectors * windows_.column_bytes() + i % vectors * kByteLine)];
                masks[i] = 0;
                for (int p = 0; p < kBf16Vector; ++p) masks[i] |= (bytes[2 * p] & 1u) << p;
            }
        } else {
            columns = take(2 * count * windows_.column_bytes() + kByteLine);
            for (std::int64_t tap = 0; tap < count; ++tap)
                shifts[tap] = static_cast<std::int32_t>(tap * windows_.column_bytes());
        }
    }
    Bf16PairTask task{{}, shifts.data(), masks.data(), static_cast<std::int32_t>(count), vectors, panel,
                      pairs_ * kPairBytes};
    for (std::int64_t channel = 0; channel < channels; channel += 2, task.panel += count * kPairBytes) {
        const std::int64_t both = std::min<std::int64_t>(2, channels - channel);
        if (columns != nullptr)
            windows_.pack(taps[0], input, channel, channel + both, 0, line, columns);
        for (std::int64_t i = 0; i < 2; ++i) {  // the weight of a channel past the last one is 0
            const std::int64_t some = std::min(i, both - 1);
            if (cut_.in_place)
                task.lines[i] = reinterpret_cast<const std::uint8_t*>(
                    input.at<std::uint16_t>(window.begin) + (channel + some) * input.channel_stride());
            else if (columns != nullptr)
                task.lines[i] = columns + some * count * windows_.column_bytes();
            else
                task.lines[i] = some < i ? task.lines[0]
                                         : windows_.shifted_line(taps[i], input, channel + i, line + i * line_bytes_);
        }
        bf16_kernels()->pair(task);
    }
    const std::int64_t made = (channels + 1) / 2 * count;
    for (std::int32_t v = 0; v < vectors; ++v)
        std::memset(panel + v * task.panel_bytes + made * kPairBytes, 0,
                    static_cast<std::size_t>((pairs_ - made) * kPairBytes));
}

void Bf16DenseStep::run(long unit, int part, const StepMaps& maps) const {
    const ByteWindow window = windows_.at(unit);
    const auto vectors = static_cast<std::int32_t>(window.lanes / kBf16Vector);
    Scratch scratch;
    auto* const panel = reinterpret_cast<std::uint8_t*>(
        scratch.take(vectors * pairs_ * kPairBytes / static_cast<std::int64_t>(sizeof(float))));
    make_panel(window, maps.inputs[0], vectors, panel);
    const auto first = static_cast<std::int32_t>(blocks_ * part / cut_.parts);
    const auto end = static_cast<std::int32_t>(blocks_ * (part + 1) / cut_.parts);
    bf16_kernels()->dense({panel, pairs_ * kPairBytes, vectors, pairs_, matrix_->weights.data(), first, end - first,
                           sums_.bias(), sums_.channels(), sums_.epilogue(maps, window.begin, 0)});
}

class Bf16DenseBackend final : public ConvBackend {
public:
    const char* name() const override { return kName; }

    bool fits(const ConvCase& conv) const override {
        return bf16_case(conv) && conv.weights->sizes().groups == 1 && conv.weights->stores_all();
    }

    std::vector<Tuning> candidates(const ConvCase& conv, std::size_t most) const override {
        const ConvShape shape = checked_shape(*conv.weights, conv.params, conv.input, conv.output);
        const Cut cut = choose_cut(shape, conv.input, conv.output, Tuning{}, blocks_of(conv.weights->sizes()), 1);
        return width_candidates(conv.output, cut.width, conv.output.pitch(), most);
    }

    std::unique_ptr<const Step> make(const ConvCase& conv, const Tuning& tuning, int threads) const override {
        return std::make_unique<const Bf16DenseStep>(conv, tuning, threads);
    }
};

}  // namespace

const ConvBackend& bf16_dense_backend() {
    static const Bf16DenseBackend backend;
    return backend;
}

}  // namespace sovs
