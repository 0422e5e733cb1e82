#include "weights/panel_layout.h"

#include <algorithm>
#include <map>
#include <utility>

namespace sovs {
namespace {

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

// A tap along one axis: the sub-panel it reads (by that one's origin) and how many sub-panel rows or columns further.
struct AxisTap {
    std::int64_t origin, step;
};

// Taps whose distance is a multiple of the stride read the same sampled pixels, some steps apart.
AxisTap shared_axis(std::int64_t k, std::int64_t dilation, std::int64_t stride) {
    return {k * dilation % stride, k * dilation / stride};
}
AxisTap own_axis(std::int64_t k, std::int64_t dilation) { return {k * dilation, 0}; }

}  // namespace

PanelLayout::PanelLayout(const ConvShape& shape, PanelKind kind, std::int32_t rows, std::int32_t cols, int width,
                         PanelRoom room)
    : kind(kind), tile_rows(rows), tile_cols(cols) {
    const auto vertical = [&](std::int64_t ky) {
        return kind == PanelKind::taps ? own_axis(ky, shape.dilation_h)
                                       : shared_axis(ky, shape.dilation_h, shape.stride_h);
    };
    const auto horizontal = [&](std::int64_t kx) {
        return kind == PanelKind::halo ? shared_axis(kx, shape.dilation_w, shape.stride_w)
                                       : own_axis(kx, shape.dilation_w);
    };
    std::int64_t steps_y = 0, steps_x = 0;
    for (std::int64_t ky = 0; ky < shape.kernel_h; ++ky) steps_y = std::max(steps_y, vertical(ky).step);
    for (std::int64_t kx = 0; kx < shape.kernel_w; ++kx) steps_x = std::max(steps_x, horizontal(kx).step);

    // Shifted copies keep every load on a vector boundary, so their rows are whole vectors where a tile has several.
    const bool align = kind == PanelKind::shifted && steps_y > 0;
    pitch = static_cast<std::int32_t>(align ? round_up(cols, width) : cols + steps_x);
    if (steps_y > 0) pitch = std::max(pitch, room.pitch);
    const std::int32_t panel_rows = static_cast<std::int32_t>(rows + steps_y);
    lanes = static_cast<std::int32_t>(round_up(std::int64_t{rows - 1} * pitch + cols, width));
    sub_size = std::max<std::ptrdiff_t>(round_up(std::int64_t{panel_rows} * pitch, width), room.sub_size);

    std::map<std::pair<std::int64_t, std::int64_t>, std::ptrdiff_t> starts;
    for (std::int64_t ky = 0; ky < shape.kernel_h; ++ky)
        for (std::int64_t kx = 0; kx < shape.kernel_w; ++kx) {
            const AxisTap y = vertical(ky), x = horizontal(kx);
            const auto [place, added] =
                starts.try_emplace({y.origin, x.origin}, static_cast<std::ptrdiff_t>(sub_panels.size()) * sub_size);
            if (added)
                sub_panels.push_back(
                    {y.origin, x.origin, panel_rows, static_cast<std::int32_t>(cols + steps_x), place->second});
            tap_offsets.push_back(place->second + y.step * pitch + x.step);
        }
    channel_stride = static_cast<std::ptrdiff_t>(sub_panels.size()) * sub_size;
}

}  // namespace sovs
