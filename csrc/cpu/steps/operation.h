// What one record of a program computes, before its maps lie anywhere: the size of its output, and the step for maps
// that do.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "steps/step.h"

namespace sovs {

struct MapSize {
    std::int64_t h, w;
};

// Pixels of a tile of a step's first input and of its output.
struct Layouts {
    std::int64_t input, output;
};

// The maps that a step joins, as they lie.
struct StepPlace {
    std::vector<TensorDesc> inputs;
    TensorDesc output;
    bool free_maps;  // the first input and the output are the plan's own, which lays them out as the step wants
    bool alone;      // it is the plan's only step
};

class Operation {
public:
    virtual ~Operation() = default;

    // As records call it.
    virtual const char* name() const = 0;
    // Of its output, given those of its inputs; by default those of the only one. Throws InvalidArgument where it takes no
    // such inputs.
    virtual std::int64_t out_channels(const std::vector<std::int64_t>& inputs) const;
    // Of its output, 0 where nothing is left of the inputs; by default that of the first. Throws InvalidArgument where
    // they do not fit together.
    virtual MapSize out_size(const std::vector<TensorDesc>& inputs) const;
    // Throws InvalidArgument where there is no kernel for such maps. `threads` guides how work is cut, never results.
    virtual std::unique_ptr<const Step> make(const StepPlace& place, int threads) const = 0;

    // Whether it has kernels for numbers of these types.
    virtual bool takes(const std::vector<DType>& inputs, DType output) const;
    // The input that is added to the output's own pixels and lies in the same tiles; -1 for none.
    virtual int added() const { return -1; }
    // Whether what is added may lie where the output does: each number is read right before it is written.
    virtual bool adds_in_place() const { return false; }
    // Whether it writes whole lines of kByteLine pixels, of floats too: its output then lies in the tiles of bytes.
    virtual bool writes_lines() const { return false; }
    // The tiles that it wants of its maps; none where it takes them as they are. A plan's only step that wants some stands
    // between copies of the caller's maps.
    virtual std::optional<Layouts> layouts(const StepPlace&) const { return std::nullopt; }
    // Whether maps of all sizes should lie in the same tiles, since its weights are held once.
    virtual bool wants_same_tiles() const { return false; }
    // Of its weights; 1 for an operation without any.
    virtual double density() const { return 1.0; }
};

// Whether floats alone become floats, or u8.
bool makes_floats_or_bytes(const std::vector<DType>& inputs, DType output);

// Throws InvalidArgument where a list of inputs is not as long as an operation's.
void require_inputs(std::size_t given, std::size_t least, std::size_t most);

}  // namespace sovs
