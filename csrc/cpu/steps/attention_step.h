// Scaled dot product attention of the pixels of each image to each other, head by head.
#pragma once
#include "steps/operation.h"

namespace sovs {

// Channels [key, key + heads * depth) of the input are the keys of all heads, and so on. Queries may be a map of their
// own, of fewer pixels.
struct AttentionParams {
    std::int64_t heads, depth;       // depth: channels of a head
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
    Range reads(long unit, std::size_t input) const override;
    bool local() const override { return false; }
    void run(long unit, int part, const StepMaps& maps) const override;

private:
    AttentionParams params_;
    TensorDesc input_, output_;
    std::int64_t queries_, blocks_;  // queries of a unit; units of an image
};

// Inputs: the map of keys and values, then that of the queries where it is another.
class Attention final : public Operation {
public:
    explicit Attention(const AttentionParams& params);

    const char* name() const override { return "attention"; }
    std::int64_t out_channels(const std::vector<std::int64_t>& inputs) const override;
    MapSize out_size(const std::vector<TensorDesc>& inputs) const override;
    std::unique_ptr<const Step> make(const StepPlace& place, int threads) const override;
    bool takes(const std::vector<DType>& inputs, DType output) const override {
        return makes_floats_or_bytes(inputs, output);
    }

private:
    AttentionParams params_;
};

}  // namespace sovs
