// The step of int8 and of bf16 convolutions by rows of gathered columns.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "base/scratch.h"
#include "conv/byte_rows_cut.h"
#include "conv/byte_stream_use.h"
#include "conv/byte_tuning.h"
#include "conv/byte_window_step.h"
#include "weights/weights.h"

namespace sovs {

// Kind: the kernels of one type of numbers, and what turns their sums into the output's numbers.
//   Kind(conv, stream, padded)                padded: channels that kernels read numbers of
//   static bool pairs_in_16_bits()            see ByteStreamLayout
//   static std::int64_t vector_bytes()
//   static int widest(block_rows)             vectors
//   static bool halves(pixels)                half a vector does for a window's last pixels
//   std::uint8_t zero()                       each byte of what lies outside the image
//   void run(block_rows, vectors, part, entries, panel, maps, pixel, lane)     vectors: 0 for half a one
template <typename Kind>
class ByteRowsStep final : public ByteWindowStep {
public:
    ByteRowsStep(const char* name, const ConvCase& conv, const Tuning& tuning, int threads)
        : name_(name),
          weights_(conv.weights),
          shape_(checked_shape(*weights_, conv.params, conv.input, conv.output)),
          cut_(choose_rows_cut(conv, shape_, tuning, std::max(1, threads))),
          windows_(shape_, conv.input, conv.in_windows(), cut_.width,
                   cut_.in_place ? std::vector<std::int32_t>{} : used_taps(*weights_)),
          stream_(weights_->byte_stream(shared_layout(
              *weights_, {cut_.in_place ? conv.input.pitch() / conv.input.line() : windows_.column_lines(), cut_.parts,
                          Kind::pairs_in_16_bits()}))),
          line_bytes_(cut_.in_place ? 0 : windows_.line_bytes()),
          kind_(conv, *stream_, weights_->block_row_count() * weights_->sizes().block.rows),
          tiling_(byte_tiling(windows_.width(), shape_.in_channels, parts(), cut_.in_place)) {}

    int parts() const override { return static_cast<int>(stream_->parts.size()); }
    const char* backend() const override { return name_; }

    void run(long unit, int number, const StepMaps& maps) const override {
        const ByteStreamPart& part = stream_->parts[static_cast<std::size_t>(number)];
        if (part.groups.empty()) return;  // more parts than block rows
        const ByteWindow window = windows_.at(unit);
        const std::int64_t bytes = windows_.column_bytes() / windows_.width();  // of a number
        if (cut_.in_place) {
            const Map& input = maps.inputs[0];
            const std::uint8_t* first = bytes == 1
                                            ? input.at<std::uint8_t>(window.begin)
                                            : reinterpret_cast<std::uint8_t*>(input.at<std::uint16_t>(window.begin));
            return multiply(part, window, bytes, first, maps);
        }
        thread_local ByteTaps taps;
        windows_.find_taps(window, kind_.zero(), taps);
        Scratch scratch;
        constexpr auto kFloat = static_cast<std::int64_t>(sizeof(float));
        const std::int64_t columns = (part.channel_end - part.channel_begin) * shape_.taps();
        auto* const line = reinterpret_cast<std::uint8_t*>(scratch.take(line_bytes_ / kFloat + 1));
        auto* const panel =
            reinterpret_cast<std::uint8_t*>(scratch.take((columns * windows_.column_bytes() + kByteLine) / kFloat));
        windows_.pack(taps, maps.inputs[0], part.channel_begin, part.channel_end, kind_.zero(), line, panel);
        multiply(part, window, bytes, panel, maps);
    }

private:
    const ByteWindows& windows() const override { return windows_; }
    const Tiling& tiling() const override { return tiling_; }

    void multiply(const ByteStreamPart& part, const ByteWindow& window, std::int64_t bytes, const std::uint8_t* panel,
                  const StepMaps& maps) const {
        const std::int64_t rows = weights_->sizes().block.rows, vector = Kind::vector_bytes() / bytes;
        const int widest = Kind::widest(rows);
        const std::int64_t pixels = window.end - window.begin, whole = pixels / vector * vector;
        const bool apart = pixels > whole && Kind::halves(pixels - whole);
        const auto vectors = static_cast<int>((apart ? whole : window.lanes) / vector);
        const std::byte* entries = stream_->entries.data() + part.first_byte;
        const int calls = (vectors + widest - 1) / widest;
        for (int call = 0, done = 0; call < calls; ++call) {
            const int some = (vectors - done + calls - call - 1) / (calls - call);
            const std::int64_t lane = done * vector;
            kind_.run(rows, some, part, entries, panel + lane * bytes, maps, window.begin, lane);
            done += some;
        }
        if (apart) kind_.run(rows, 0, part, entries, panel + whole * bytes, maps, window.begin, whole);
    }

    const char* name_;
    std::shared_ptr<const Weights> weights_;
    ConvShape shape_;
    RowsCut cut_;
    ByteWindows windows_;
    std::shared_ptr<const ByteStream> stream_;
    std::int64_t line_bytes_;
    Kind kind_;
    Tiling tiling_;
};

}  // namespace sovs
