// The one registry of what computes convolutions: plans, their tables and the tuner ask it alone.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "conv/conv_params.h"
#include "conv/tiling.h"
#include "steps/operation.h"

namespace sovs {

// A convolution and where it stands in a plan: all that the choice of its backend depends on.
struct ConvCase {
    std::shared_ptr<const Weights> weights;
    ConvParams params;
    TensorDesc input, output;
    bool residual;              // it adds one
    bool free_maps;             // input and output are the plan's own, which lays them out as the backend wants
    bool alone;                 // it is the plan's only step
    Quant residual_quant = {};  // of what it adds, where that is u8

    // The output as windows cut it: in lines of the input's numbers, whatever its own are.
    TensorDesc in_windows() const {
        TensorDesc map = output;
        map.dtype = input.dtype;
        return map;
    }
};

class ConvBackend {
public:
    virtual ~ConvBackend() = default;

    // As tables of plans show it.
    virtual const char* name() const = 0;
    // Whether it computes this case: its weights, types of numbers and activation, on maps that lie as they do, or as
    // layouts() wants them.
    virtual bool fits(const ConvCase& conv) const = 0;
    // The tiles that it wants of a case that fits; none where it takes the maps as they are. A plan's only step that
    // wants some stands between copies of the caller's maps.
    virtual std::optional<Layouts> layouts(const ConvCase& conv) const;
    // Tunings worth timing, at most `most`: what make() would choose for one thread, then others. An empty one where
    // there is nothing to choose. The maps lie as layouts() wants them.
    virtual std::vector<Tuning> candidates(const ConvCase& conv, std::size_t most) const;
    // The step of a case that fits, whose maps lie as layouts() wants them; throws InvalidArgument where shapes do not
    // fit. `threads` guides its tiling, never its result.
    virtual std::unique_ptr<const Step> make(const ConvCase& conv, const Tuning& tuning, int threads) const = 0;
};

// The first one of the registry that fits.
const ConvBackend& backend_for(const ConvCase& conv);

}  // namespace sovs
