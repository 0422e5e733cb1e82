// What each ISA's build of the kernels offers to the executor: plain function pointers and their contracts.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sovs {

// What a convolution applies to its final sums. gelu is exact (erf), gelu_tanh its approximation by tanh, quick_gelu
// x * sigmoid(1.702 x).
enum class Activation : std::int32_t { none, relu, gelu, gelu_tanh, quick_gelu };

// One stored weight and where its activations start, in bytes from the panel's first float. Interleaved, so that
// the inner loop follows one stream.
struct Entry {
    float weight;
    std::int32_t offset;
};

// A run of block rows with equal entry counts: the inner loop's exit is predictable inside it.
struct RowGroup {
    std::int32_t entries;     // of each block row
    std::int32_t block_rows;  // in the run
    std::int32_t first_row;   // into the list of row ids
    std::int64_t first_entry; // into the entries (blocks of 1) or the weights (blocks of 4)
    std::int64_t first_offset;  // into the offsets (blocks of 4)
    std::int32_t offset_step;   // from one block row's offsets to the next one's: 0 where all rows share theirs
};

// All rows of one K-tile times one panel of pixels.
struct RowsTask {
    const RowGroup* groups;
    std::int32_t group_count;
    const std::int32_t* row_ids;  // block row ids
    const Entry* entries;         // blocks of 1
    const std::int32_t* offsets;  // blocks of 4: bytes
    const float* weights;         // blocks of 4: (entries, 4)
    const float* panel;           // fastest on a cache line; readable for the offsets plus `vectors` vectors
    const float* bias;            // padded with zeros to whole block rows
    bool first;                   // sums start from the bias, else from `sums`
    bool last;                    // sums are final
    float* sums;                  // (rows padded to whole block rows, sums_stride)
    std::ptrdiff_t sums_stride;   // floats between channels of `sums`
    // Final sums go straight to `out` if it is not null, else to `sums`.
    float* out;                   // first pixel of channel 0
    const float* residual;        // as `out`, or null
    std::ptrdiff_t channel_stride;  // floats between channels of `out` and `residual`
    std::int32_t pixels;          // valid pixels, (vectors - 1) * width < pixels <= vectors * width
    std::int32_t channels;        // of the layer: rows past it, in the last block, are not stored to `out`
    Activation activation;
};

using RowsKernel = void (*)(const RowsTask&);

// The products of one K-tile's rows with one panel of pixels, sampled where weights are stored: for each of them, the sum
// over the tile's lanes of grad[its row] times what the weight meets in the panel.
struct SampledTask {
    const RowGroup* groups;
    std::int32_t group_count;
    const std::int32_t* row_ids;  // block row ids
    const Entry* entries;         // blocks of 1; their weights are not read
    const std::int32_t* offsets;  // blocks of 4: bytes
    const float* panel;           // readable for the offsets plus `vectors` vectors
    const float* grad;            // lane 0 of channel 0
    std::ptrdiff_t grad_stride;   // floats between channels
    std::int32_t lanes;           // valid lanes of grad, (vectors - 1) * width < lanes <= vectors * width
    std::int32_t channels;        // of grad: rows past it, in the last block, are zeros
    float* sums;                  // (entries, rows of a block): added to
};

using SampledKernel = void (*)(const SampledTask&);

// A run of pixels of some channels: panel[k * panel_channel_stride + p] = pixel p of channel k.
struct PackTask {
    const float* source;  // pixel 0 of the first channel
    std::ptrdiff_t channel_stride, pixel_stride;  // floats
    std::int32_t channels, pixels;
    float* panel;
    std::ptrdiff_t panel_channel_stride;  // floats
};

// Final sums (channels, pixels) to a run of output pixels, adding the residual and applying the activation.
struct StoreTask {
    const float* sums;
    std::ptrdiff_t sums_stride;  // floats between channels
    std::int32_t channels, pixels;
    float* out;             // pixel 0 of the first channel
    const float* residual;  // as `out`, or null
    std::ptrdiff_t channel_stride, pixel_stride;  // floats
    Activation activation;
};

// Dense sums for a run of pixels, output channels side by side: out[p][m] = bias[m] + sum over k of
// input[k][p] * weights[k][m], where input[k][p] lies offsets[k] + p * pixel_stride floats from `panel`.
struct DenseTask {
    const float* panel;
    const std::int32_t* offsets;  // (depth,)
    std::int32_t depth, pixels;
    std::ptrdiff_t pixel_stride;  // floats
    const float* weights;         // (depth, channels padded to whole pairs of vectors)
    const float* bias;            // padded as the weights' rows, or null for zeros
    float* out;                   // pixel 0
    std::ptrdiff_t out_stride;    // floats between pixels of `out`
    std::int32_t channels;
    bool relu;
};

// The input transform of Winograd's F(2x2, 3x3) for one patch of 4x4 pixels, written to 16 points `point_stride` apart.
struct PatchTask {
    const float* rows[4];         // pixel 0 of the patch, channel 0, in each of its rows; null outside the image
    std::ptrdiff_t pixel_stride;  // floats
    std::int32_t x0, x1;          // columns of the patch inside the image
    std::int32_t channels;
    float* points;
    std::ptrdiff_t point_stride;
};

// Its output transform: 16 points to 2x2 pixels, of which `cols` columns exist.
struct QuadTask {
    const float* points;
    std::ptrdiff_t point_stride;
    const float* bias;
    float* rows[2];               // pixel 0 of each output row; null outside the image
    std::ptrdiff_t pixel_stride;  // floats
    std::int32_t cols, channels;
    bool relu;
};

// Normalises each pixel over its channels: (x - mean) / sqrt(variance + eps) * gamma + beta.
struct NormTask {
    const float* source;  // pixel 0 of channel 0; pixels side by side
    std::ptrdiff_t source_stride;  // floats between channels
    std::int32_t channels, pixels;
    const float *gamma, *beta;     // (channels,)
    float eps;
    float* out;
    std::ptrdiff_t out_stride;
};

// One plane of a channel, for BatchNorm: out = (x - mean) * of_x + shift + grad * of_grad.
struct PlaneTask {
    const float* x;
    const float* grad;  // or null
    float* out;
    std::int64_t pixels;
    float mean, of_x, of_grad, shift;
};

// Pixels side by side, in place: x = [relu]((x - mean) * scale + shift + (1 - weight) * upper + weight * lower).
struct NormRowTask {
    float* x;
    const float *upper, *lower;  // or both null
    float weight, mean, scale, shift;
    bool relu;
    std::int64_t pixels;
};

// One head's attention of some queries to some keys, after earlier keys were attended to. Rows of query, sums, top,
// total and scores are `stride` floats apart and hold whole vectors.
struct AttendTask {
    const float* query;            // (depth, queries)
    const float *key, *value;      // key k of channel 0; keys side by side
    std::ptrdiff_t key_stride, value_stride;  // floats between channels
    std::int32_t depth, keys;      // depth: channels of the head
    float scale;
    float* scores;                 // (keys, queries): working memory
    std::ptrdiff_t stride;
    float *top, *total;            // (queries,): the largest score so far, and the sum of e^(score - top)
    float* sums;                   // (depth, queries): sums of e^(score - top) * value
};

using AttendKernel = void (*)(const AttendTask&);

// One channel of a depthwise convolution over a padded plane, pixels side by side:
// out[i] = bias + sum over t of plane[i + offsets[t]] * weights[t].
struct DepthwiseTask {
    const float* plane;  // readable for the offsets plus whole vectors
    const std::int32_t* offsets;  // floats
    const float* weights;
    std::int32_t taps;
    float bias;
    std::int64_t pixels;  // whole vectors
    float* out;
};

// One row of pixels between two rows of scores, which are as wide as it and whole vectors.
struct DecideTask {
    const float *upper, *lower;  // class 0's; `stride` floats between classes
    std::int64_t stride;
    float weight;  // of lower
    std::int64_t classes, pixels;
    bool logits;
    float *labels, *confidence;  // whole vectors; confidence may be null
    float* scores;               // class 0's probabilities at these pixels, or null
    std::int64_t score_stride;   // floats between classes
};

// Pixels of queries' masks between two rows of logits: their probabilities, or the logits themselves.
struct MaskRowTask {
    const float *upper, *lower;  // query 0's; `stride` floats between queries; whole vectors
    std::int64_t stride;
    float weight;  // of lower
    std::int64_t queries, pixels;
    bool sigmoid;
    float* out;  // (queries, out_stride)
    std::int64_t out_stride;
};

// One map of a pyramid whose cells lie row by row, map after map.
struct DeformableLevel {
    std::int32_t h, w;
    std::int32_t first_cell;
};

// The map that each sample of a query and head meets: (levels, points), padded with maps of one cell to whole vectors.
struct SampledMaps {
    const float *w, *h;
    const std::int32_t *first_byte, *row_bytes;  // of its first cell, and between its rows
};

// One head of a run of queries: out = sum over levels and points of weight * the bilinear sample of values at the point's
// location. Cells outside a map count as zeros and are not read; a location that is not finite gives NaN.
// Where `references` is null, `places` are locations, x and y in [0, 1] within the map, and `shares` weights. Else they are
// offsets in cells from the reference of the query in the map, and logits, whose softmax over levels and points gives the
// weights. Both are readable for whole vectors: masked loads of rows that are not in a cache are slow.
struct DeformableTask {
    const float* values;     // first channel of the head in the first cell
    std::int32_t cell_bytes; // between cells; all cells lie within 1 GB
    SampledMaps maps;
    std::int32_t levels, points, depth;  // depth: channels of the head
    std::int32_t queries;
    const float* references;  // (queries, levels, 2): x, y in [0, 1]; or null
    const float* places;      // (levels, points, 2) of the first query
    const float* shares;      // (levels, points) of the first query
    std::ptrdiff_t share_stride;  // floats between queries of `shares`; those of `places` are twice as far apart
    float* out;                   // (depth,) of the first query
    std::ptrdiff_t out_stride;
    // Working memory, where S is the number of samples padded to whole vectors:
    std::int32_t* corners;  // (queries, S / width, 4, width): bytes from `values` to a cell
    float* parts;           // as `corners`: the cell's weight
    std::int32_t* listed;   // (queries, S): where the first corners lie of the samples that meet a cell
    std::int32_t* counts;   // (queries,): how many do
    float* made;            // (queries, 3 S + width): places in pixels, x and y; weights where there are references
};

inline constexpr int kMaxVectors = 16;  // of one kernel call; wider tiles take several

struct KernelTable {
    const char* isa;
    int width;                // floats in a vector
    int max_vectors1;         // widest rows1 and rows4
    int max_vectors4;
    RowsKernel rows1[kMaxVectors + 1];  // by vectors
    RowsKernel rows4[kMaxVectors + 1];
    int max_sampled1, max_sampled4;  // widest of these
    SampledKernel sampled1[kMaxVectors + 1];  // by vectors
    SampledKernel sampled4[kMaxVectors + 1];
    void (*pack)(const PackTask&);
    void (*clear)(float* panel, std::ptrdiff_t channel_stride, std::int32_t channels, std::int32_t pixels);
    void (*store)(const StoreTask&);
    void (*dense)(const DenseTask&);
    void (*activate)(float* values, std::int64_t count, Activation activation);
    void (*layer_norm)(const NormTask&);
    AttendKernel attend[kMaxVectors + 1];  // by vectors of queries, up to max_vectors4
    void (*finish_attention)(const AttendTask&, std::int32_t queries);  // sums / total, in place
    // Add to two sums: over the plane, of x - mean and its square; of grad and grad * (x - mean).
    void (*plane_moments)(const float* x, std::int64_t pixels, float mean, double* sums);
    void (*plane_products)(const float* x, const float* grad, std::int64_t pixels, float mean, double* sums);
    void (*plane_scale)(const PlaneTask&);
    void (*norm_row)(const NormRowTask&);
    // Pixels of a row between its cells: (1 - weight) * row[first] + weight * row[second].
    void (*enlarge_row)(const float* row, const std::int32_t* first, const std::int32_t* second, const float* weight,
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
    void (*atrous_pool_row)(float* out, const float* upper, const float* lower, std::int64_t offset, std::int64_t count);
};

namespace generic { extern const KernelTable table; }
namespace avx2 { extern const KernelTable table; }
namespace avx2x16 { extern const KernelTable table; }  // in builds with tests only
namespace avx512 { extern const KernelTable table; }
namespace neon { extern const KernelTable table; }

}  // namespace sovs
