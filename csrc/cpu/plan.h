// A list of steps over declared tensors, run as one call.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "buffer_pool.h"
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
    // Memory of the tensors that live inside the plan; in huge pages, since steps walk over many channels at once.
    struct GiveBack {
        void operator()(void* buffer) const { give_buffer(buffer); }
    };
    using Arena = std::unique_ptr<void, GiveBack>;

    const TensorDesc& tensor(int id) const;
    void place_inner_tensors();

    std::vector<TensorDesc> tensors_;
    std::vector<PlanStep> steps_;
    std::vector<int> inputs_, outputs_;
    std::vector<int> inner_;           // tensors that the caller does not pass
    std::vector<std::size_t> places_;  // of the inner tensors in the arena, in floats
    std::size_t arena_floats_ = 0;
    bool final_ = false;
};

}  // namespace sovs
