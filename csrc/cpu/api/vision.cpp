// The C API of what heads run: normalisation, decisions on pixels, deformable attention.
#include <vector>

#include "api/status.h"
#include "api/structs.h"
#include "vision/decide.h"
#include "vision/decide_masks.h"
#include "vision/deformable_attention.h"
#include "vision/group_norm.h"

namespace {

using sovs::guarded;
using sovs::require;

sovs::DeformableSizes deformable_sizes(const sovs_deformable_params* params) {
    const sovs_deformable_params p = sovs::taken(params);
    require(p.levels > 0 && p.shapes != nullptr, "expected at least 1 level with its shape");
    return {p.n,     p.queries, p.heads,
            p.depth, p.points,  sovs::deformable_levels(p.shapes, static_cast<std::size_t>(p.levels))};
}

}  // namespace

extern "C" {

sovs_status sovs_group_norm(int64_t n, int64_t c, int64_t h, int64_t w, int64_t groups, float eps, float* x,
                            const float* gamma, const float* beta, const float* above, int64_t above_h, int64_t above_w,
                            int32_t relu, int32_t threads) {
    return guarded([&] {
        require(x != nullptr && gamma != nullptr && beta != nullptr, "expected x, gamma and beta, got NULL");
        sovs::group_norm({n, c, h, w, groups, eps}, x, gamma, beta, {above, above_h, above_w}, relu != 0, threads);
    });
}

sovs_status sovs_decide(int64_t classes, int64_t grid_h, int64_t grid_w, const float* grid, double covered_h,
                        double covered_w, int64_t h, int64_t w, int32_t logits, int64_t* labels, float* confidence,
                        float* scores, int32_t threads) {
    return guarded([&] {
        require(grid != nullptr && labels != nullptr, "expected grid and labels, got NULL");
        sovs::decide({classes, grid_h, grid_w, grid, covered_h, covered_w}, logits != 0,
                     {h, w, labels, confidence, scores}, threads);
    });
}

sovs_status sovs_decide_masks(const sovs_mask_window* windows, int32_t window_count, int64_t classes, int64_t input_h,
                              int64_t input_w, int32_t at_image, int64_t h, int64_t w, int64_t* labels,
                              float* confidence, float* scores, int32_t threads) {
    return guarded([&] {
        require(windows != nullptr && window_count > 0 && labels != nullptr, "expected windows and labels, got none");
        std::vector<sovs::MaskWindow> given;
        for (const sovs_mask_window& window : sovs::taken(windows, window_count))
            given.push_back({window.top, window.left, window.h, window.w, window.queries, window.grid_h, window.grid_w,
                             window.logits, window.probabilities});
        sovs::decide_masks(given, classes, input_h, input_w,
                           at_image != 0 ? sovs::MaskedAt::image : sovs::MaskedAt::input,
                           {h, w, labels, confidence, scores}, threads);
    });
}

sovs_status sovs_deformable_attention(const sovs_deformable_params* params, const float* values, const float* locations,
                                      const float* weights, float* out, int32_t threads) {
    return guarded([&] {
        require(params != nullptr && values != nullptr && locations != nullptr && weights != nullptr && out != nullptr,
                "expected params, values, locations, weights and out, got NULL");
        sovs::deformable_attention(deformable_sizes(params), values, locations, weights, out, threads);
    });
}

sovs_status sovs_deformable_attention_around(const sovs_deformable_params* params, const float* values,
                                             int64_t reference_images, const float* references, const float* offsets,
                                             const float* logits, float* out, int32_t threads) {
    return guarded([&] {
        require(params != nullptr && values != nullptr && references != nullptr && offsets != nullptr &&
                    logits != nullptr && out != nullptr,
                "expected params, values, references, offsets, logits and out, got NULL");
        const sovs::DeformableSizes sizes = deformable_sizes(params);
        require(reference_images == 1 || reference_images == sizes.n, "expected references of 1 image or of all");
        sovs::deformable_attention(
            sizes, values, sovs::DeformablePlaces{references, reference_images == 1, offsets, logits}, out, threads);
    });
}

}  // extern "C"
