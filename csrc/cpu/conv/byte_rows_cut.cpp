#include "conv/byte_rows_cut.h"

#include <algorithm>

#include "conv/byte_tuning.h"
#include "weights/byte_stream.h"

namespace sovs {
namespace {

// Panels of a part that stay in the L2 beside the rows that they meet.
constexpr std::int64_t kPanelBytes = 400 << 10;
// Work is handed out in this many units a thread, or more.
constexpr std::int64_t kUnitsAThread = 4;

RowsCut choose_cut(const ConvShape& shape, const TensorDesc& input, const TensorDesc& output, std::int64_t block_rows,
                   int threads) {
    const std::int64_t tile = output.pitch();
    RowsCut cut{shape.pointwise() && shape.groups == 1 && input.tile == output.tile &&
                    shape.in_channels * (tile / output.line()) <= kMostPanelLines,
                tile, 1};
    const std::int64_t columns = shape.in_channels * shape.taps();  // of a group
    if (!cut.in_place) {
        const auto number = static_cast<std::int64_t>(size_of(output.dtype));
        const std::int64_t line = output.line();
        const std::int64_t most = std::min(kPanelBytes / number / columns, kMostPanelLines * line / columns);
        cut.width = std::clamp(most / line * line, line, tile);
        // One part's panel holds the columns of all groups that it meets.
        const std::int64_t panel = columns * shape.groups * cut.width * number;
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
    return std::min(kMostPanelLines / (shape.in_channels * shape.taps()) * output.line(), output.pitch());
}

}  // namespace

RowsCut choose_rows_cut(const ConvCase& conv, const ConvShape& shape, const Tuning& tuning, int threads) {
    RowsCut cut = choose_cut(shape, conv.input, conv.in_windows(), conv.weights->block_row_count(), threads);
    const std::int64_t most = most_width(shape, conv.in_windows());
    if (!cut.in_place && most > 0) cut.width = tuned_width(tuning, conv.in_windows(), cut.width, most);
    return cut;
}

std::vector<Tuning> rows_candidates(const ConvCase& conv, std::size_t most) {
    const ConvShape shape = checked_shape(*conv.weights, conv.params, conv.input, conv.output);
    const RowsCut cut = choose_rows_cut(conv, shape, Tuning{}, 1);
    return width_candidates(conv.in_windows(), cut.width, cut.in_place ? 0 : most_width(shape, conv.in_windows()),
                            most);
}

}  // namespace sovs
