// A list of steps over declared tensors, run as one call.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "conv_step.h"

namespace sovs {

class Plan {
public:
    int add_tensor(const TensorDesc& desc);
    void add_conv2d(std::shared_ptr<const Weights> weights, const ConvParams& params, const Tuning& tuning, int input,
                    int residual, int output);
    void add_avg_pool2x2(int input, int output);
    void finalize(const std::vector<int>& inputs, const std::vector<int>& outputs, int threads);
    void run(const float* const* inputs, float* const* outputs, int threads) const;
    // Of a convolution.
    const Tiling& tiling(int step) const;

private:
    struct PlanStep {
        int input, residual, output;  // residual: -1 for none
        std::function<std::unique_ptr<const Step>(int threads)> build;
        std::unique_ptr<const Step> step;
    };
    using Arena = std::vector<AlignedBuffer<float>>;  // the tensors that live inside the plan

    const TensorDesc& tensor(int id) const;
    std::unique_ptr<Arena> take_arena() const;

    std::vector<TensorDesc> tensors_;
    std::vector<PlanStep> steps_;
    std::vector<int> inputs_, outputs_;
    std::vector<int> inner_;  // tensors that the caller does not pass
    bool final_ = false;

    // Concurrent runs need an arena each; a finished run leaves its own for the next.
    mutable std::mutex arena_mutex_;
    mutable std::vector<std::unique_ptr<Arena>> idle_arenas_;
};

}  // namespace sovs
