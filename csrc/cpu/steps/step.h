// What a plan is made of: an operation that is done in units along the pixels of its output.
#pragma once
#include <array>

#include "maps/tensor.h"

namespace sovs {

struct Tiling;

// Of pixels, numbered through all images.
struct Range {
    std::int64_t begin, end;
};

inline constexpr std::size_t kMostInputs = 3;  // of a step

struct StepMaps {
    std::array<Map, kMostInputs> inputs;  // data is null for those that the step does not have
    Map output;
};

class Step {
public:
    virtual ~Step() = default;

    // Units come in the order of the pixels that they write; together they write the whole output.
    virtual long units() const = 0;
    virtual Range writes(long unit) const = 0;
    // Of the input with that number.
    virtual Range reads(long unit, std::size_t input) const = 0;
    // Whether these ranges tell all: steps that read more run alone, never strip by strip.
    virtual bool local() const { return true; }
    // A unit falls into parts. Any thread may run any part of any unit.
    virtual int parts() const = 0;
    virtual void run(long unit, int part, const StepMaps& maps) const = 0;
    // What computes it, in a word or two.
    virtual const char* backend() const = 0;
    // The sizes that it was cut with; null where it has none.
    virtual const Tiling* chosen_tiling() const { return nullptr; }
};

// Rows [begin, end) of image `image` as pixels.
inline Range rows_of(const TensorDesc& map, std::int64_t image, std::int64_t begin, std::int64_t end) {
    return {(image * map.h + begin) * map.w, (image * map.h + end) * map.w};
}

}  // namespace sovs
