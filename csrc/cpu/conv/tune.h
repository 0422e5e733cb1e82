// Times a convolution as it runs inside a plan, to choose its tuning by measurement.
#pragma once
#include <memory>
#include <vector>

#include "conv/conv_params.h"
#include "conv/tiling.h"

namespace sovs {

// Where a plan's map lies: in the caller's layout, in the plan's own tiles, or as its neighbours want it.
enum class MapPlace { nchw, nhwc, tiled, free };

// Where in a plan a convolution stands; n, h, w are those of its input.
struct ConvPlace {
    std::int64_t n, h, w;
    MapPlace input, output;
    bool residual;             // it adds one
    bool alone;                // it is the plan's only step, on the caller's maps
    DType dtype = DType::f32;  // of its maps, where its weights are float32
};

// The name of the backend that a plan runs it with. Where an own map meets a neighbour that wants it pixel by pixel, and
// this convolution does not, the plan may take another one: what neighbours want is not known here.
const char* conv_backend(const std::shared_ptr<const Weights>& weights, const ConvParams& params,
                         const ConvPlace& place);

// That backend's, see ConvBackend.
std::vector<Tuning> conv_candidates(const std::shared_ptr<const Weights>& weights, const ConvParams& params,
                                    const ConvPlace& place, std::size_t most);

// Seconds that one thread takes for the whole map with each tuning: the best of `rounds`, estimated from a run of pixels
// that stays in the near caches, as in a strip. The tunings take turns, so that other work on the machine meets all of
// them. With the copies that a plan puts around its only step; without the residual.
std::vector<double> time_conv(const std::shared_ptr<const Weights>& weights, const ConvParams& params,
                              const ConvPlace& place, const std::vector<Tuning>& tunings, int rounds);

}  // namespace sovs
