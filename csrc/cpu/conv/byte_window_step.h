// What int8 convolutions have in common as steps: a unit is a window of the output.
#pragma once
#include "conv/byte_windows.h"
#include "conv/tiling.h"
#include "steps/step.h"

namespace sovs {

class ByteWindowStep : public Step {
public:
    long units() const final { return windows().count(); }
    Range writes(long unit) const final {
        const ByteWindow window = windows().at(unit);
        return {window.begin, window.end};
    }
    // A residual is read where the output is written.
    Range reads(long unit, std::size_t input) const final {
        return input > 0 ? writes(unit) : windows().reads(windows().at(unit));
    }
    const Tiling* chosen_tiling() const final { return &tiling(); }

private:
    virtual const ByteWindows& windows() const = 0;
    virtual const Tiling& tiling() const = 0;
};

}  // namespace sovs
