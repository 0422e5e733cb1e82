// A list of steps over declared tensors, run as one call.
#pragma once
#include <memory>
#include <variant>
#include <vector>

#include "steps/atrous_pool_step.h"
#include "steps/attention_step.h"
#include "base/buffer_pool.h"
#include "conv/conv_step.h"
#include "steps/layer_norm_step.h"
#include "plan/strips.h"
#include "steps/tokens_step.h"

namespace sovs {

// What runs as one step of a final plan.
struct PlanStepInfo {
    int added;        // number of the step that the caller added; of a copy, of the step it serves
    int strip_group;  // number of the group of steps that runs strip by strip; -1 for a step that runs alone
    const char* backend;
    TensorDesc output;
    double density;        // of its weights; 1 for none
    const Tiling* tiling;  // null where the step has none
};

class Plan {
public:
    int add_tensor(const TensorDesc& desc);
    void add_conv2d(std::shared_ptr<const Weights> weights, const ConvParams& params, const Tuning& tuning, int input,
                    int residual, int output);
    void add_avg_pool2x2(int input, int output);
    void add_atrous_pool2x2(const AtrousPoolParams& params, int input, int output);
    void add_layer_norm(LayerNormParams params, int input, int output);
    // queries: -1 where the input holds them.
    void add_attention(const AttentionParams& params, int input, int queries, int output);
    void add_tokens(TokensParams params, int input, int output);
    void add_crop(CropParams params, int input, int output);
    void finalize(const std::vector<int>& inputs, const std::vector<int>& outputs, int threads);
    // seconds: null, or for each step that was added the time spent in it, summed over threads.
    void run(const float* const* inputs, float* const* outputs, int threads, double* seconds = nullptr) const;
    int steps() const { return added_; }
    // Steps in the order in which they run, copies at the plan's edge among them.
    int run_steps() const { return static_cast<int>(steps_.size()); }
    PlanStepInfo info(int run_step) const;
    // Activations inside the plan during one run.
    std::size_t arena_bytes() const;

private:
    enum class Kind { conv, pool, atrous_pool, layer_norm, attention, tokens, crop, copy };
    using OtherParams = std::variant<std::monostate, AtrousPoolParams, LayerNormParams, AttentionParams, TokensParams, CropParams>;
    struct PlanStep {
        Kind kind;
        int input, residual, output;  // residual: -1 for none; of attention, the map of the queries
        int added;                    // number of the step that the caller added; of a copy, of the step it serves
        std::shared_ptr<const Weights> weights;
        ConvParams params;
        Tuning tuning;
        std::unique_ptr<const Step> step;
        OtherParams other{};  // of the kind
    };
    // Steps [first, last): one step whose units run in parallel, or several that run strip by strip.
    struct Stage {
        int first, last;
        StripSchedule strips;
        std::map<int, std::size_t> places;  // of its inner maps in a band's memory, in floats
        std::size_t band_floats = 0;
    };
    // Memory of the tensors that live inside the plan; in huge pages, since steps walk over many channels at once.
    struct GiveBack {
        void operator()(void* buffer) const { give_buffer(buffer); }
    };
    using Arena = std::unique_ptr<void, GiveBack>;

    const TensorDesc& tensor(int id) const;
    void add_other(Kind kind, OtherParams params, int input, int residual, int output);
    bool is_outside(int id) const;
    void check_order() const;
    bool is_one_winograd() const;
    bool adds_in_one_layout() const;
    void copy_outside_maps();
    void choose_tiles();
    void build_steps(int threads);
    std::unique_ptr<const Step> build_conv(const PlanStep& conv, int threads) const;
    std::vector<int> block_ends() const;
    Stage strip_stage(int first, int last, int threads) const;
    void make_stages(int threads);
    std::vector<bool> maps_within(int first, int last) const;
    void place_maps();
    std::size_t band_floats() const;
    void run_alone(const Stage& stage, const std::vector<Map>& maps, int threads, double* seconds) const;
    void run_strips(const Stage& stage, const std::vector<Map>& maps, float* memory, int threads, double* seconds) const;

    std::vector<TensorDesc> tensors_;
    std::vector<PlanStep> steps_;
    std::vector<Stage> stages_;
    int added_ = 0;
    std::vector<int> inputs_, outputs_;
    std::vector<std::size_t> places_;  // of each inner map that stages share, in floats
    std::vector<bool> placed_;
    std::size_t arena_floats_ = 0;
    bool final_ = false;
};

}  // namespace sovs
