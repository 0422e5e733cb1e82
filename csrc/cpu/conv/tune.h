// Times a convolution as it runs inside a plan, to choose its tuning by measurement.
#pragma once
#include <memory>
#include <vector>

#include "conv/conv_step.h"

namespace sovs {

// Where in a plan a convolution stands: the size of its input, and whether its maps may be pixel-major.
struct ConvPlace {
    std::int64_t n, h, w;
    bool pixel_major;
};

// See candidate_tunings.
std::vector<Tuning> conv_candidates(const std::shared_ptr<const Weights>& weights, const ConvParams& params,
                                    const ConvPlace& place, std::size_t most);

// Seconds that one thread takes for the whole map with each tuning: the best of `rounds`, estimated from a run of pixels
// that stays in the near caches, as in a strip. The tunings take turns, so that other work on the machine meets all of
// them. Dense 3x3 weights are timed in Winograd's scheme where a plan would run them so.
std::vector<double> time_conv(const std::shared_ptr<const Weights>& weights, const ConvParams& params,
                              const ConvPlace& place, const std::vector<Tuning>& tunings, int rounds);

}  // namespace sovs
