#include "conv/byte_rows_backend.h"

#include <algorithm>

#include "base/error.h"
#include "base/scratch.h"
#include "conv/byte_scales.h"
#include "conv/byte_stream_use.h"
#include "conv/byte_tuning.h"
#include "conv/byte_window_step.h"
#include "kernels/byte_table.h"

namespace sovs {
namespace {

// Panels of a part that stay in the L2 beside the rows that they meet.
constexpr std::int64_t kPanelBytes = 400 << 10;
// Work is handed out in this many units a thread, or more.
constexpr std::int64_t kUnitsAThread = 4;

// How a case is cut.
struct Cut {
    bool in_place;  // the panel is the input's own tile
    std::int64_t width;
    int parts;
};

Cut choose_cut(const ConvShape& shape, const TensorDesc& input, const TensorDesc& output, std::int64_t block_rows,
               int threads) {
    const std::int64_t tile = output.pitch();
    Cut cut{shape.pointwise() && shape.groups == 1 && input.tile == output.tile &&
                shape.in_channels * (tile / kByteLine) <= kMostPanelLines,
            tile, 1};
    const std::int64_t columns = shape.in_channels * shape.taps();  // of a group
    if (!cut.in_place) {
        const std::int64_t most = std::min(kPanelBytes / columns, kMostPanelLines * kByteLine / columns);
        cut.width = std::clamp(most / kByteLine * kByteLine, kByteLine, tile);
        // One part's panel holds the columns of all groups that it meets.
        const std::int64_t panel = columns * shape.groups * cut.width;
        if (shape.groups > 1)
            cut.parts = static_cast<int>(std::min(shape.groups, (panel + kPanelBytes - 1) / kPanelBytes));
    }
    const std::int64_t windows = std::max<std::int64_t>(1, output.pixels() / cut.width);
    const std::int64_t wanted = (kUnitsAThread * threads + windows - 1) / windows;
    constexpr std::int64_t kLeastRows = 16;  // of a part: fewer do not pay for a panel of its own
    if (threads > 1)
        cut.parts = std::max(cut.parts, static_cast<int>(std::clamp<std::int64_t>(
                                            wanted, 1, std::max<std::int64_t>(1, block_rows / kLeastRows))));
    return cut;
}

// The widest window whose panel's columns 16 bits tell apart; 0 where there is nothing to choose.
std::int64_t most_width(const ConvShape& shape, const TensorDesc& output) {
    if (shape.groups > 1) return 0;
    return std::min(kMostPanelLines / (shape.in_channels * shape.taps()) * kByteLine, output.pitch());
}

Cut choose_cut(const ConvCase& conv, const ConvShape& shape, const Tuning& tuning, int threads) {
    Cut cut = choose_cut(shape, conv.input, conv.output, conv.weights->block_row_count(), threads);
    const std::int64_t most = most_width(shape, conv.output);
    if (!cut.in_place && most > 0) cut.width = tuned_width(tuning, cut.width, most);
    return cut;
}

class ByteRowsStep final : public ByteWindowStep {
public:
    ByteRowsStep(const char* name, const ConvCase& conv, const Tuning& tuning, int threads);

    int parts() const override { return static_cast<int>(stream_->parts.size()); }
    void run(long unit, int part, const StepMaps& maps) const override;
    const char* backend() const override { return name_; }

private:
    const ByteWindows& windows() const override { return windows_; }
    const Tiling& tiling() const override { return tiling_; }
    void multiply(const ByteStreamPart& part, const ByteWindow& window, const std::uint8_t* panel,
                  const StepMaps& maps) const;

    const char* name_;
    std::shared_ptr<const Weights> weights_;
    ConvShape shape_;
    TensorDesc output_;
    std::uint8_t zero_;  // of the input
    Cut cut_;
    ByteWindows windows_;
    std::shared_ptr<const ByteStream> stream_;
    std::int64_t span_;  // bytes of a line of input pixels
    ByteScales scales_;
    Tiling tiling_;
};

ByteRowsStep::ByteRowsStep(const char* name, const ConvCase& conv, const Tuning& tuning, int threads)
    : name_(name),
      weights_(conv.weights),
      shape_(checked_shape(*weights_, conv.params, conv.input, conv.output)),
      output_(conv.output),
      zero_(static_cast<std::uint8_t>(conv.input.quant.zero_point)),
      cut_(choose_cut(conv, shape_, tuning, std::max(1, threads))),
      windows_(shape_, conv.input, output_, cut_.width,
               cut_.in_place ? std::vector<std::int32_t>{} : used_taps(*weights_)),
      stream_(weights_->byte_stream(
          shared_layout(*weights_, {cut_.in_place ? conv.input.pitch() / kByteLine : windows_.column_lines(),
                                    cut_.parts, byte_kernels().adds_pairs_in_16_bits}))),
      span_(cut_.in_place ? 0 : windows_.most_span()),
      scales_(conv, stream_->sums, weights_->block_row_count() * weights_->sizes().block.rows),
      tiling_(byte_tiling(windows_.width(), shape_.in_channels, parts(), cut_.in_place)) {}

void ByteRowsStep::multiply(const ByteStreamPart& part, const ByteWindow& window, const std::uint8_t* panel,
                            const StepMaps& maps) const {
    const ByteTable& table = byte_kernels();
    const std::int64_t rows = weights_->sizes().block.rows;
    const auto kernel = [&](const ByteTable& t, int vectors) {
        return (rows == 1 ? t.rows1 : rows == 2 ? t.rows2 : t.rows4)[vectors];
    };
    const int widest = rows == 1 ? table.most1 : rows == 2 ? table.most2 : table.most4;
    ByteRowsTask task{};
    task.groups = part.groups.data();
    task.group_count = static_cast<std::int32_t>(part.groups.size());
    task.row_ids = part.row_ids.data();
    task.entries = stream_->entries.data() + part.first_byte;
    task.start = scales_.start();
    task.channels = static_cast<std::int32_t>(output_.c);
    const std::int64_t pixels = window.end - window.begin, whole = pixels / table.bytes * table.bytes;
    const ByteTable& last = byte_kernels_for(table, pixels - whole);
    const bool apart = pixels > whole && &last != &table;
    const auto vectors = static_cast<int>((apart ? whole : window.lanes()) / table.bytes);
    const int calls = (vectors + widest - 1) / widest;
    for (int call = 0, done = 0; call < calls; ++call) {
        const int some = (vectors - done + calls - call - 1) / (calls - call);
        const std::int64_t at = std::int64_t{done} * table.bytes;
        task.panel = panel + at;
        task.epilogue = scales_.epilogue(maps, window.begin, at);
        kernel(table, some)(task);
        done += some;
    }
    if (!apart) return;
    task.panel = panel + whole;
    task.epilogue = scales_.epilogue(maps, window.begin, whole);
    kernel(last, 1)(task);
}

void ByteRowsStep::run(long unit, int number, const StepMaps& maps) const {
    const ByteStreamPart& part = stream_->parts[static_cast<std::size_t>(number)];
    if (part.groups.empty()) return;  // more parts than block rows
    const ByteWindow window = windows_.at(unit);
    if (cut_.in_place) return multiply(part, window, maps.inputs[0].at<std::uint8_t>(window.begin), maps);
    thread_local ByteTaps taps;
    windows_.find_taps(window, zero_, taps);
    Scratch scratch;
    constexpr auto kFloat = static_cast<std::int64_t>(sizeof(float));
    const std::int64_t columns = (part.channel_end - part.channel_begin) * shape_.taps();
    auto* const line = reinterpret_cast<std::uint8_t*>(scratch.take((span_ + kByteLine) / kFloat + 1));
    auto* const panel =
        reinterpret_cast<std::uint8_t*>(scratch.take((columns * windows_.width() + kByteLine) / kFloat));
    windows_.pack(taps, maps.inputs[0], part.channel_begin, part.channel_end, zero_, line, panel);
    multiply(part, window, panel, maps);
}

class ByteRowsBackend final : public ConvBackend {
public:
    ByteRowsBackend(std::int64_t block_rows, const char* name) : block_rows_(block_rows), name_(name) {}

    const char* name() const override { return name_; }

    bool fits(const ConvCase& conv) const override {
        const WeightSizes& sizes = conv.weights->sizes();
        return conv.weights->dtype() == DType::s8 && conv.input.dtype == DType::u8 && sizes.block.rows == block_rows_ &&
               sizes.columns() < kMostPanelLines;
    }

    std::vector<Tuning> candidates(const ConvCase& conv, std::size_t most) const override {
        const ConvShape shape = checked_shape(*conv.weights, conv.params, conv.input, conv.output);
        const Cut cut = choose_cut(conv, shape, Tuning{}, 1);
        return width_candidates(conv.output, cut.width, cut.in_place ? 0 : most_width(shape, conv.output), most);
    }

    std::unique_ptr<const Step> make(const ConvCase& conv, const Tuning& tuning, int threads) const override {
        return std::make_unique<const ByteRowsStep>(name_, conv, tuning, threads);
    }

private:
    std::int64_t block_rows_;
    const char* name_;
};

}  // namespace

const ConvBackend& byte_rows1_backend() {
    static const ByteRowsBackend backend(1, "int8 rows1");
    return backend;
}

const ConvBackend& byte_rows2_backend() {
    static const ByteRowsBackend backend(2, "int8 rows2");
    return backend;
}

const ConvBackend& byte_rows4_backend() {
    static const ByteRowsBackend backend(4, "int8 rows4");
    return backend;
}

}  // namespace sovs
