// Times a convolution as it runs inside a plan, to choose its tuning by measurement.
#pragma once
#include <memory>
#include <vector>

#include "conv_step.h"

namespace sovs {

// The input that a convolution reads; (n, h, w) of a map that lives inside a plan.
struct InputSize {
    std::int64_t n, h, w;
};

// See candidate_tunings.
std::vector<Tuning> conv_candidates(const std::shared_ptr<const Weights>& weights, const ConvParams& params,
                                    const InputSize& size, std::size_t most);

// Seconds that one thread takes for the whole map with each tuning: the best of `rounds`, estimated from a run of pixels
// that stays in the near caches, as in a strip. The tunings take turns, so that other work on the machine meets all of
// them. Weights that a plan would multiply by Winograd's scheme are timed so.
std::vector<double> time_conv(const std::shared_ptr<const Weights>& weights, const ConvParams& params,
                              const InputSize& size, const std::vector<Tuning>& tunings, int rounds);

}  // namespace sovs
