#include "conv/bf16_dense_backend.h"

#include <algorithm>
#include <cstring>

#include "base/scratch.h"
#include "conv/bf16_sums.h"
#include "conv/byte_stream_use.h"
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
    std::int64_t channels;  // that a panel holds the columns of
    int parts;
};

// Channels of panels: as many as their bytes let, in whole blocks of pairs whatever the taps.
std::int64_t panel_channels(const ConvShape& shape, std::int64_t width) {
    const std::int64_t step = 2 * bf16_kernels()->blocks.pairs;
    const std::int64_t most = kPanelBytes / (shape.taps() * width * static_cast<std::int64_t>(sizeof(std::uint16_t)));
    const std::int64_t panels = (shape.in_channels + std::max(most, step) - 1) / std::max(most, step);
    return ((shape.in_channels + panels - 1) / panels + step - 1) / step * step;
}

Cut choose_cut(const ConvShape& shape, const TensorDesc& input, const TensorDesc& output, const Tuning& tuning,
               std::int64_t blocks, int threads) {
    Cut cut{shape.pointwise() && input.tile == output.tile, tuned_width(tuning, output, output.pitch(), output.pitch()),
            0, 1};
    if (threads > 1) {
        const std::int64_t wanted = kUnitsAThread * threads;
        const auto windows = [&] { return output.pixels() / cut.width; };
        while (windows() < wanted && cut.width > output.line()) cut.width = output.whole_lines(cut.width / 2);
        cut.parts = static_cast<int>(std::clamp<std::int64_t>(wanted / std::max<std::int64_t>(1, windows()), 1,
                                                              std::max<std::int64_t>(1, blocks / 2)));
    }
    cut.channels = panel_channels(shape, cut.width);
    return cut;
}

std::int64_t blocks_of(const WeightSizes& sizes) {
    const int rows = bf16_kernels()->blocks.rows;
    return (sizes.out_channels + rows - 1) / rows;
}

class Bf16DenseStep final : public ByteWindowStep {
public:
    Bf16DenseStep(const ConvCase& conv, const Tuning& tuning, int threads);

    int parts() const override { return cut_.parts; }
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return kName; }

private:
    // Where pairs are made of: the input's own tile, lines of its channels that taps are shifts in, or columns.
    enum class Source { map, lines, columns };

    const ByteWindows& windows() const override { return windows_; }
    const Tiling& tiling() const override { return tiling_; }
    std::int64_t whole_pairs(std::int64_t channels) const;
    const std::uint8_t* load(const ByteWindow& window, ByteTaps& taps, const Map& input, std::int64_t channel,
                             std::uint8_t* memory) const;
    void make_panel(const ByteWindow& window, ByteTaps& taps, const Map& input, std::int64_t begin, std::int64_t end,
                    std::int32_t vectors, std::uint8_t* panel) const;

    std::shared_ptr<const Weights> weights_;
    ConvShape shape_;
    std::int64_t blocks_, taps_;
    Cut cut_;
    ByteWindows windows_;
    Source source_;
    std::shared_ptr<const Bf16Matrix> matrix_;
    std::int64_t line_bytes_;
    std::vector<std::int32_t> shifts_;  // of map and columns
    Bf16Sums sums_;
    Tiling tiling_;
};

Bf16DenseStep::Bf16DenseStep(const ConvCase& conv, const Tuning& tuning, int threads)
    : weights_(conv.weights),
      shape_(checked_shape(*weights_, conv.params, conv.input, conv.output)),
      blocks_(blocks_of(weights_->sizes())),
      taps_(shape_.taps()),
      cut_(choose_cut(shape_, conv.input, conv.output, tuning, blocks_, std::max(1, threads))),
      windows_(shape_, conv.input, conv.output, cut_.width, all_taps(weights_->sizes())),
      source_(Source::map),
      matrix_(weights_->bf16_matrix(bf16_kernels()->blocks)),
      line_bytes_(cut_.in_place ? 0 : whole_byte_lines(windows_.line_bytes())),
      sums_(conv, blocks_ * bf16_kernels()->blocks.rows),
      tiling_(byte_tiling(windows_.width(), cut_.channels, cut_.parts, cut_.in_place)) {
    const bool shifts = ByteWindows::shifts(shape_.stride_h, shape_.stride_w, conv.input, conv.output);
    if (!cut_.in_place) source_ = shifts ? Source::lines : Source::columns;
    for (std::int64_t tap = 0; tap < taps_; ++tap)
        shifts_.push_back(static_cast<std::int32_t>(tap * windows_.column_bytes()));
}

// Of the pairs of some channels, in whole blocks.
std::int64_t Bf16DenseStep::whole_pairs(std::int64_t channels) const {
    const std::int64_t block = matrix_->blocks.pairs, pairs = (channels + 1) / 2 * taps_;
    return (pairs + block - 1) / block * block;
}

// Where a channel's taps are shifts from.
const std::uint8_t* Bf16DenseStep::load(const ByteWindow& window, ByteTaps& taps, const Map& input,
                                        std::int64_t channel, std::uint8_t* memory) const {
    if (source_ == Source::map)
        return reinterpret_cast<const std::uint8_t*>(input.at<std::uint16_t>(window.begin) +
                                                     channel * input.channel_stride());
    std::uint8_t* const rest = memory + line_bytes_;
    if (source_ == Source::lines) return windows_.shifted_line(taps, input, channel, memory, rest);
    windows_.pack(taps, input, channel, channel + 1, 0, memory, rest);
    return rest;
}

void Bf16DenseStep::make_panel(const ByteWindow& window, ByteTaps& taps, const Map& input, std::int64_t begin,
                               std::int64_t end, std::int32_t vectors, std::uint8_t* panel) const {
    Scratch scratch;
    const bool lines = source_ == Source::lines;
    const std::int64_t more = source_ == Source::columns ? taps_ * windows_.column_bytes() + kByteLine
                                                         : static_cast<std::int64_t>(taps.split.size());
    const std::int64_t memory_bytes = line_bytes_ + whole_byte_lines(more);
    auto* const memory =
        reinterpret_cast<std::uint8_t*>(scratch.take(2 * memory_bytes / static_cast<std::int64_t>(sizeof(float))));
    Bf16PairTask task{{},
                      lines ? taps.sources.data() : shifts_.data(),
                      lines ? taps.masks.data() : nullptr,
                      windows_.column_bytes(),
                      static_cast<std::int32_t>(taps_),
                      vectors,
                      panel,
                      whole_pairs(end - begin) * kPairBytes};
    for (std::int64_t channel = begin; channel < end; channel += 2, task.panel += taps_ * kPairBytes) {
        task.lines[0] = task.lines[1] = load(window, taps, input, channel, memory);
        // The weights of a channel past the last one are 0.
        if (channel + 1 < end) task.lines[1] = load(window, taps, input, channel + 1, memory + memory_bytes);
        bf16_kernels()->pair(task);
    }
    const std::ptrdiff_t made = task.panel - panel;
    for (std::int32_t v = 0; v < vectors; ++v)
        std::memset(panel + v * task.panel_bytes + made, 0, static_cast<std::size_t>(task.panel_bytes - made));
}

void Bf16DenseStep::run(long unit, int part, const StepMaps& maps) const {
    thread_local ByteTaps taps;
    const ByteWindow window = windows_.at(unit);
    const auto vectors = static_cast<std::int32_t>(window.lanes / kBf16Vector);
    taps.split.clear();
    if (source_ != Source::map) windows_.find_taps(window, 0, taps);
    Scratch scratch;
    const Bf16Blocks& sizes = matrix_->blocks;
    const auto first = static_cast<std::int32_t>(blocks_ * part / cut_.parts);
    const auto end = static_cast<std::int32_t>(blocks_ * (part + 1) / cut_.parts);
    const bool several = cut_.channels < shape_.in_channels;
    const std::int64_t most_pairs = whole_pairs(several ? cut_.channels : shape_.in_channels);
    auto* const panel = reinterpret_cast<std::uint8_t*>(
        scratch.take(vectors * most_pairs * kPairBytes / static_cast<std::int64_t>(sizeof(float))));
    const std::int64_t block_sums = std::int64_t{sizes.rows} * vectors * kBf16Vector;
    float* const sums = scratch.take((several ? end - first : 1) * block_sums);
    Bf16DenseTask task{panel,
                       0,
                       vectors,
                       0,
                       matrix_->weights.data(),
                       2 * sizes.rows * whole_pairs(shape_.in_channels),
                       first,
                       end - first,
                       true,
                       false,
                       sums,
                       several ? block_sums : 0,
                       sums_.bias(),
                       sums_.channels(),
                       sums_.epilogue(maps, window.begin, 0)};
    for (std::int64_t channel = 0; channel < shape_.in_channels; channel += cut_.channels) {
        const std::int64_t past = std::min(channel + cut_.channels, shape_.in_channels);
        make_panel(window, taps, maps.inputs[0], channel, past, vectors, panel);
        task.pairs = static_cast<std::int32_t>(whole_pairs(past - channel));
        task.panel_bytes = task.pairs * kPairBytes;
        task.ends = past == shape_.in_channels;
        bf16_kernels()->dense(task);
        task.begins = false;
        task.weights += std::ptrdiff_t{2} * sizes.rows * task.pairs;
    }
}

class Bf16DenseBackend final : public ConvBackend {
public:
    const char* name() const override { return kName; }

    bool fits(const ConvCase& conv) const override {
        if (!bf16_case(conv) || conv.weights->sizes().groups != 1) return false;
        const Bf16Table& table = *bf16_kernels();
        const double densest = conv.weights->sizes().block.rows == 1 ? table.densest1 : table.densest4;
        return conv.weights->stores_all() || conv.weights->density() > densest;
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
