#include "conv/cost.h"

#include <algorithm>
#include <cmath>

namespace sovs {
namespace {

constexpr double kTileCycles = 300;
constexpr double kRowCycles = 10;
constexpr double kL1 = 32 * 1024;

double beyond_l1(double bytes) { return std::clamp(bytes / kL1 - 1.0, 0.0, 4.0); }

}  // namespace

Area::Area(const ConvShape& shape, const TensorDesc& input)
    : flat(shape.pointwise()),
      images(flat ? 1 : input.n),
      rows(flat ? 1 : shape.out_h(input.h)),
      cols(flat ? input.pixels() : shape.out_w(input.w)) {}

std::int64_t Area::tiles(std::int64_t tile_rows, std::int64_t tile_cols) const {
    return images * ceil_div(rows, tile_rows) * ceil_div(cols, tile_cols);
}

CostModel::CostModel(const ConvShape& shape, const Area& area, double density, std::int64_t block_rows,
                     const KernelTable& table, int threads, bool in_place)
    : shape_(shape),
      area_(area),
      density_(density),
      fours_(block_rows == 4),
      table_(table),
      threads_(threads),
      in_place_(in_place) {}

double CostModel::cycles(const Candidate& c, std::int64_t parts) const {
    const PanelLayout layout(shape_, c.panel, c.rows, c.cols, table_.width, c.room);
    const std::int64_t whole = layout.lanes / table_.width;
    const auto vectors = static_cast<double>(whole);
    const double k_tiles =
        static_cast<double>(ceil_div(shape_.in_channels, c.k_tile)) * static_cast<double>(shape_.groups);
    const double tile =
        multiply(layout, c, vectors) + rows(vectors, k_tiles) + (in_place_ ? 0.0 : pack(layout)) + kTileCycles;
    const std::int64_t units = area_.tiles(c.rows, c.cols) * parts;
    return tile * static_cast<double>(ceil_div(units, threads_) * threads_) / static_cast<double>(parts);
}

double CostModel::per_vector() const { return table_.width == 16 ? 1.0 : 0.5; }

int CostModel::widest() const { return fours_ ? table_.max_vectors4 : table_.max_vectors1; }

double CostModel::block_rows() const { return static_cast<double>(shape_.out_channels) / (fours_ ? 4 : 1); }

// Floats of a channel that are read or written.
std::int64_t CostModel::touched(const PanelLayout& layout) const {
    std::int64_t vectors = 0;
    for (const SubPanel& sub : layout.sub_panels)
        vectors += ceil_div(std::int64_t{sub.rows} * layout.pitch, table_.width);
    return vectors * table_.width;
}

// Stored weights times vectors. Short chains of sums wait for the FMA's latency; panels past the L1 slow the loads.
double CostModel::multiply(const PanelLayout& layout, const Candidate& c, double vectors) const {
    const double stored = density_ * block_rows() * static_cast<double>(shape_.in_channels * shape_.taps());
    const double bytes = static_cast<double>(touched(layout) * c.k_tile) * sizeof(float);
    const double calls = std::ceil(vectors / widest());
    const double chains = (fours_ ? 4 : 1) * vectors / calls;
    // Loads that straddle two cache lines count twice; only halo panels of several columns have them.
    const double straddle = c.panel == PanelKind::halo && shape_.kernel_w > 1 ? (table_.width == 16 ? 0.7 : 0.35) : 0.0;
    const double load = (fours_ ? 0.25 : 1.0) * (0.15 * beyond_l1(bytes) + straddle);
    return stored * calls * (std::max(4.5, chains * per_vector() * (1.0 + load)) + (fours_ ? 2.0 : 1.0));
}

// Starting and ending each row in each K-tile; between K-tiles its sums are stored and loaded again.
double CostModel::rows(double vectors, double k_tiles) const {
    const double calls = std::ceil(vectors / widest());
    const double sums = static_cast<double>(shape_.out_channels) * vectors * table_.width * sizeof(float);
    const double reload = (k_tiles - static_cast<double>(shape_.groups)) * (fours_ ? 4 : 1) * vectors * per_vector() *
                          (sums > kL1 / 2 ? 3.0 : 1.5);
    return block_rows() * (k_tiles * calls * kRowCycles + reload) / static_cast<double>(shape_.groups);
}

double CostModel::pack(const PanelLayout& layout) const {
    double runs = 0;
    for (const SubPanel& sub : layout.sub_panels) runs += sub.rows;
    const double vectors = static_cast<double>(touched(layout)) / table_.width;
    return static_cast<double>(shape_.in_channels * shape_.groups) * (1.5 * vectors * per_vector() + 6.0 * runs);
}

}  // namespace sovs
