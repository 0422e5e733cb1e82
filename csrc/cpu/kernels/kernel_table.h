// What each ISA's build of the kernels offers to the executor: plain function pointers. Their contracts stand in
// kernels/tasks.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/tasks/activation.h"
#include "kernels/tasks/attention.h"
#include "kernels/tasks/decide.h"
#include "kernels/tasks/deformable.h"
#include "kernels/tasks/dense.h"
#include "kernels/tasks/depthwise.h"
#include "kernels/tasks/epilogue.h"
#include "kernels/tasks/mask_row.h"
#include "kernels/tasks/norm.h"
#include "kernels/tasks/panel.h"
#include "kernels/tasks/rows.h"
#include "kernels/tasks/sampled.h"
#include "kernels/tasks/winograd.h"

namespace sovs {

inline constexpr int kMaxVectors = 16;  // of one kernel call; wider tiles take several

struct KernelTable {
    const char* isa;
    int width;         // floats in a vector
    int max_vectors1;  // widest rows1 and rows4
    int max_vectors4;
    RowsKernel rows1[kMaxVectors + 1];  // by vectors
    RowsKernel rows4[kMaxVectors + 1];
    int max_sampled1, max_sampled4;           // widest of these
    SampledKernel sampled1[kMaxVectors + 1];  // by vectors
    SampledKernel sampled4[kMaxVectors + 1];
    void (*pack)(const PackTask&);
    void (*clear)(float* panel, std::ptrdiff_t channel_stride, std::int32_t channels, std::int32_t pixels);
    void (*store)(const StoreTask&);
    void (*dense)(const DenseTask&);
    void (*activate)(float* values, std::int64_t count, Activation activation);
    void (*layer_norm)(const NormTask&);
    AttendKernel attend[kMaxVectors + 1];                               // by vectors of queries, up to max_vectors4
    void (*finish_attention)(const AttendTask&, std::int32_t queries);  // sums / total, in place
    // Add to two sums: over the plane, of x - mean and its square; of grad and grad * (x - mean).
    void (*plane_moments)(const float* x, std::int64_t pixels, float mean, double* sums);
    void (*plane_products)(const float* x, const float* grad, std::int64_t pixels, float mean, double* sums);
    void (*plane_scale)(const PlaneTask&);
    void (*norm_row)(const NormRowTask&);
    // Pixels of a row between its cells: (1 - weight) * row[first] + weight * row[second].
    void (*upsample_row)(const float* row, const std::int32_t* first, const std::int32_t* second, const float* weight,
                         std::int64_t pixels, float* out);
    void (*decide_row)(const DecideTask&);
    void (*mask_row)(const MaskRowTask&);
    void (*depthwise)(const DepthwiseTask&);
    void (*deformable)(const DeformableTask&);
    void (*patch)(const PatchTask&);
    void (*quad)(const QuadTask&);
    // One output row of a 2x2 average: pixels of `channels` floats, from two input rows of 2 * pixels pixels.
    void (*pool_row)(float* out, const float* upper, const float* lower, std::int64_t pixels, std::int64_t channels);
    // Means of `count` floats of two rows with those `offset` later.
    void (*atrous_pool_row)(float* out, const float* upper, const float* lower, std::int64_t offset,
                            std::int64_t count);
};

namespace generic {
extern const KernelTable table;
}
namespace avx2 {
extern const KernelTable table;
}
namespace avx2x16 {
extern const KernelTable table;
}  // namespace avx2x16
namespace avx512 {
extern const KernelTable table;
}
namespace neon {
extern const KernelTable table;
}

}  // namespace sovs
