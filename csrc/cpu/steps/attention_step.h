// Scaled dot product attention of the pixels of each image to each other, head by head.
#pragma once
#include "steps/step.h"

namespace sovs {

// Channels [key, key + heads * depth) of the input are the keys of all heads, and so on. Queries may be a map of their
// own, of fewer pixels.
struct AttentionParams {
    std::int64_t heads, depth;  // depth: channels of a head
    std::int64_t query, key, value;  // first channels
    float scale;
};

class AttentionStep final : public Step {
public:
    // `queries` is the map that holds them. Throws InvalidArgument where shapes do not fit.
    AttentionStep(const AttentionParams& params, const TensorDesc& input, const TensorDesc& queries,
                  const TensorDesc& output);

    long units() const override { return static_cast<long>(output_.n * blocks_); }
    const char* backend() const override { return "attention"; }
    int parts() const override { return static_cast<int>(params_.heads); }
    Range writes(long unit) const override;
    Range reads(long unit) const override;
    bool local() const override { return false; }
    // maps.residual holds the queries, or is null where the input does.
    void run(long unit, int part, const StepMaps& maps) const override;

private:
    AttentionParams params_;
    TensorDesc input_, output_;
    std::int64_t queries_, blocks_;  // queries of a unit; units of an image
};

}  // namespace sovs
