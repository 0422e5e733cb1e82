/* C API of sparse_ovs: packed sparse weights, plans of fused steps, and the thread pool that runs them.
 *
 * Conventions
 *   - Every function that can fail returns a sovs_status; sovs_last_error() tells why, per thread.
 *   - Activations are fp32. SOVS_NCHW is (n, c, h, w) row-major; SOVS_NHWC is (n, h, w, c) row-major.
 *   - Objects are immutable once built, so any number of threads may run one plan at the same time. The exception is
 *     sovs_weights_update.
 *   - Sums run in ascending order of (input channel, kernel tap) in fp32, starting from the bias: tile sizes,
 *     block height, row order and thread count never change a bit of the result.
 *   - A weight that is not stored does not touch the activations: NaN or Inf under it give 0, not NaN.
 */
#ifndef SPARSE_OVS_H
#define SPARSE_OVS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SOVS_API __attribute__((visibility("default")))
#else
#define SOVS_API
#endif

/* Raised whenever a signature or a struct below changes. */
#define SOVS_ABI_VERSION 11

typedef enum {
    SOVS_OK = 0,
    SOVS_INVALID_ARGUMENT = 1,
    SOVS_OUT_OF_MEMORY = 2,
    SOVS_INTERNAL_ERROR = 3
} sovs_status;

typedef enum { SOVS_NCHW = 0, SOVS_NHWC = 1 } sovs_layout;

/* How a panel holds the pixels that kernel taps read. AUTO chooses by shape. */
typedef enum {
    SOVS_PANEL_AUTO = 0,
    SOVS_PANEL_HALO = 1,    /* one copy with a halo: taps are offsets (smallest, loads cross cache lines) */
    SOVS_PANEL_SHIFTED = 2, /* one copy for each kernel column: aligned loads */
    SOVS_PANEL_TAPS = 3     /* one copy for each kernel tap (im2col of one tile) */
} sovs_panel;

SOVS_API int32_t sovs_abi_version(void);

/* Message of the last failure on this thread; "" if there was none. Valid until the next failing call. */
SOVS_API const char* sovs_last_error(void);

/* "generic", "avx2", "avx512" or "neon": the widest the CPU has, or what SPARSE_OVS_ISA names.
 * NULL when SPARSE_OVS_ISA names one that this build or this CPU lacks (sovs_last_error says which). */
SOVS_API const char* sovs_isa(void);
/* Comma-separated ISAs that this build and this CPU both have, widest first. */
SOVS_API const char* sovs_available_isas(void);

/* ---- threads ---------------------------------------------------------------------------------------- */

/* GOMP_parallel of an OpenMP runtime (libgomp, libomp and libiomp export it). */
typedef void (*sovs_openmp_parallel)(void (*fn)(void*), void* data, unsigned threads, unsigned flags);
/* Runs plans on the threads of an OpenMP runtime that the process uses anyway, so that two sets of spinning
 * workers do not take the cores from each other. NULL, the state at the start and in a forked child: on the
 * library's own threads. */
SOVS_API void sovs_use_openmp(sovs_openmp_parallel parallel);

/* ---- buffers ---------------------------------------------------------------------------------------- */

/* Memory for large outputs, kept (256 MB at most) for the next one of about the same size: fresh memory costs a page
 * fault every 4 kB. Aligned to 2 MB, contents undefined. */
SOVS_API sovs_status sovs_buffer_take(size_t bytes, void** out);
SOVS_API sovs_status sovs_buffer_give(void* buffer);
/* Bytes kept for later now. */
SOVS_API size_t sovs_buffer_idle_bytes(void);

/* ---- weights ---------------------------------------------------------------------------------------- */

typedef struct sovs_weights sovs_weights;

typedef struct {
    int64_t out_channels;
    int64_t in_channels; /* of one group */
    int64_t kernel_h;
    int64_t kernel_w;
    int64_t groups;
    int64_t block_rows;     /* 1 or 4 output channels that share their columns */
    const int32_t* row_ptr; /* (ceil(out_channels / block_rows) + 1,) */
    const void* indices;    /* (blocks,) columns in the tap-major flattened (kernel_h, kernel_w, in_channels) */
    int64_t index_bits;     /* 16 (unsigned) or 32 (signed) */
    const float* values;    /* (blocks, block_rows) */
    const float* bias;      /* (out_channels,) or NULL */
} sovs_weights_desc;

/* Copies what desc points to. */
SOVS_API sovs_status sovs_weights_create(const sovs_weights_desc* desc, sovs_weights** out);
/* Dense weight (out_channels, in_channels, kernel_h, kernel_w), as torch stores it, for the dense kernels. */
SOVS_API sovs_status sovs_weights_create_dense(int64_t out_channels, int64_t in_channels, int64_t kernel_h,
                                               int64_t kernel_w, int64_t groups, const float* weight,
                                               const float* bias, sovs_weights** out);
/* From here on memory comes first: the weights are held once where possible, in the form that plans read, and plans of
 * other input sizes share it, which may cost some speed. Call it before the first plan is made. Results stay the same. */
SOVS_API sovs_status sovs_weights_release(const sovs_weights* weights);
/* Bytes held: the compact copy and the streams that plans read. */
SOVS_API size_t sovs_weights_bytes(const sovs_weights* weights);
/* Of these, the compact copy, with the bias. */
SOVS_API size_t sovs_weights_packed_bytes(const sovs_weights* weights);
/* Writes the dense weight, (out_channels, in_channels, kernel_h, kernel_w). */
SOVS_API sovs_status sovs_weights_unpack(const sovs_weights* weights, float* dense);
/* Writes new values in the place of the old: weight is dense, (out_channels, in_channels, kernel_h, kernel_w), and is read
 * where weights are stored; a NULL bias leaves the old one. Plans that use the weights follow without being made anew; none
 * may run meanwhile. SOVS_INVALID_ARGUMENT for weights that were released or that a dense kernel runs. */
SOVS_API sovs_status sovs_weights_update(const sovs_weights* weights, const float* weight, const float* bias,
                                         int32_t threads);
/* The weights of the convolution that gives the input's gradient of a convolution of stride 1: channels swapped within each
 * group, taps reversed, no bias. Its padding is dilation * (kernel - 1) - padding. Updates take the original's weight. */
SOVS_API sovs_status sovs_weights_transpose(const sovs_weights* weights, sovs_weights** out);
SOVS_API void sovs_weights_destroy(sovs_weights* weights); /* plans that use it keep it alive */

/* ---- plans ------------------------------------------------------------------------------------------ */

typedef struct sovs_plan sovs_plan;

/* 0 in any field lets the library choose. */
typedef struct {
    int64_t tile_rows;   /* output rows of a tile (1 for 1x1 convs, whose pixels are one flat run) */
    int64_t tile_cols;   /* output pixels of a tile row */
    int64_t k_tile;      /* input channels of a panel */
    int64_t row_parts;   /* output channels are split in this many parts, balanced by non-zeros */
    int64_t panel;       /* sovs_panel */
} sovs_tuning;

typedef enum {
    SOVS_NONE = 0,
    SOVS_RELU = 1,
    SOVS_GELU = 2,       /* x / 2 * (1 + erf(x / sqrt(2))) */
    SOVS_GELU_TANH = 3,  /* its approximation by tanh, as torch defines it */
    SOVS_QUICK_GELU = 4  /* x * sigmoid(1.702 x) */
} sovs_activation;

typedef struct {
    int64_t stride_h, stride_w;
    int64_t pad_h, pad_w;
    int64_t dilation_h, dilation_w;
    int64_t activation; /* sovs_activation, after the residual is added */
} sovs_conv2d_params;

/* The channels of head i's queries are [query + i * head_channels, query + (i + 1) * head_channels) of their map; so for
 * keys and values. */
typedef struct {
    int64_t heads, head_channels;
    int64_t query, key, value; /* first channels */
    float scale;               /* of the scores, before the softmax */
} sovs_attention_params;

SOVS_API sovs_status sovs_plan_create(sovs_plan** out);
/* Declares an activation map; *id names it in the calls below. The layout is that of the caller's memory; maps that
 * live inside the plan lie as the library likes. */
SOVS_API sovs_status sovs_plan_add_tensor(sovs_plan* plan, int64_t n, int64_t c, int64_t h, int64_t w,
                                          sovs_layout layout, int32_t* id);
/* output = activation(conv2d(input) + bias [+ residual]); residual is -1 for none. tuning may be NULL. A linear layer is
 * a 1x1 convolution whose pixels are the tokens. */
SOVS_API sovs_status sovs_plan_add_conv2d(sovs_plan* plan, const sovs_weights* weights,
                                          const sovs_conv2d_params* params, const sovs_tuning* tuning,
                                          int32_t input, int32_t residual, int32_t output);
/* output = mean over 2x2 pixels of input, stride 2; an odd last row or column is left out. */
SOVS_API sovs_status sovs_plan_add_avg_pool2x2(sovs_plan* plan, int32_t input, int32_t output);
/* output = mean over 2x2 pixels of input that are `dilation` apart, stride 1, of the input's size; a neighbour beyond the
 * last row or column is the pixel itself. */
SOVS_API sovs_status sovs_plan_add_atrous_pool2x2(sovs_plan* plan, int64_t dilation, int32_t input, int32_t output);
/* output = (input - mean) / sqrt(variance + eps) * gamma + beta over the channels of each pixel. gamma and beta are
 * (channels,); NULL stands for ones and zeros. */
SOVS_API sovs_status sovs_plan_add_layer_norm(sovs_plan* plan, int64_t channels, const float* gamma, const float* beta,
                                              float eps, int32_t input, int32_t output);
/* output = softmax(scale * queries . keys) . values over the pixels of each image, head by head, with keys and values in
 * `input` and the queries in the map `queries`, which may have other pixels, or in `input` too where that is -1. */
SOVS_API sovs_status sovs_plan_add_attention(sovs_plan* plan, const sovs_attention_params* params, int32_t input,
                                             int32_t queries, int32_t output);
/* output = tokens of each image: its pixels behind class tokens, as many as the output has more pixels, plus `constants`
 * (tokens, channels). Class tokens are the mean of the pixels where mean is not 0, else 0, before constants are added. */
SOVS_API sovs_status sovs_plan_add_tokens(sovs_plan* plan, int64_t tokens, int64_t channels, const float* constants,
                                          int64_t mean, int32_t input, int32_t output);
/* output = the pixels of each image from `first` on, as many as the output has. */
SOVS_API sovs_status sovs_plan_add_crop(sovs_plan* plan, int64_t first, int32_t input, int32_t output);
/* Names the tensors that the caller passes; every other one lives inside the plan. Chooses tilings for
 * `threads` threads and expands the weight streams. */
SOVS_API sovs_status sovs_plan_finalize(sovs_plan* plan, const int32_t* inputs, int32_t n_inputs,
                                        const int32_t* outputs, int32_t n_outputs, int32_t threads);
/* Pointers in the order given to finalize. Outputs must not overlap inputs. Runs on at most `threads`
 * threads, the caller's among them. */
SOVS_API sovs_status sovs_plan_run(const sovs_plan* plan, const float* const* inputs, float* const* outputs,
                                   int32_t threads);
/* sovs_plan_run, and the time spent in each step in the order in which they were added: `seconds` has room for as many.
 * Time of several threads is summed where they run different strips at once. */
SOVS_API sovs_status sovs_plan_time(const sovs_plan* plan, const float* const* inputs, float* const* outputs,
                                    int32_t threads, double* seconds);

typedef struct {
    int32_t step;        /* number of the step that was added; of a copy, of the step that it serves */
    int32_t strip_group; /* steps with the same number run together, strip of rows by strip; -1: runs alone */
    const char* backend; /* "sparse rows1", "dense", "winograd", "pool", "copy", ...: static */
    int64_t n, c, h, w;  /* of the output */
    int64_t tile;        /* pixels of a tile in which the output lies: h * w is NCHW, 1 is NHWC */
    double density;      /* of the weights; 1 for a step without any */
    sovs_tuning tuning;  /* zeros for a step that has none */
} sovs_step_info;

/* Steps that a final plan runs: those that were added, and copies of the caller's maps that the library put in. */
SOVS_API int32_t sovs_plan_step_count(const sovs_plan* plan);
/* The i-th of them, in the order in which they run. */
SOVS_API sovs_status sovs_plan_step_info(const sovs_plan* plan, int32_t i, sovs_step_info* out);
/* Bytes of activations that one run of a final plan holds inside. */
SOVS_API size_t sovs_plan_arena_bytes(const sovs_plan* plan);
SOVS_API void sovs_plan_destroy(sovs_plan* plan);

/* ---- tuning ----------------------------------------------------------------------------------------- */

/* A convolution inside a plan, whose input has n images of h x w pixels. */
typedef struct {
    int64_t n, h, w;
    int64_t pixel_major; /* 1 where a plan may lay out its maps pixel by pixel, as the dense 3x3 kernels want them: neither
                            is the caller's, nor takes part in a residual add */
} sovs_conv2d_place;

/* Tunings worth timing: what the library would choose for one thread, then others. *count: room in `out`; afterwards,
 * how many there are. */
SOVS_API sovs_status sovs_conv2d_candidates(const sovs_weights* weights, const sovs_conv2d_params* params,
                                            const sovs_conv2d_place* place, sovs_tuning* out, int32_t* count);
/* Seconds that one thread takes with each of `count` tunings, the best of `rounds`. Estimated from as many pixels as fit
 * in the near caches. */
SOVS_API sovs_status sovs_conv2d_time(const sovs_weights* weights, const sovs_conv2d_params* params,
                                      const sovs_conv2d_place* place, const sovs_tuning* tunings, int32_t count,
                                      int32_t rounds, double* seconds);

/* ---- training --------------------------------------------------------------------------------------- */

/* How the gradient of a sparse convolution's weight is computed for maps of one size: for each stored weight, the sum over
 * all output pixels of the output's gradient times the input that the weight meets. The order of the sums depends on the
 * shapes and the ISA, never on threads. */
typedef struct sovs_weight_gradient sovs_weight_gradient;

/* input: (n, in_channels, h, w). The activation of params is not read; tuning may be NULL. */
SOVS_API sovs_status sovs_weight_gradient_create(const sovs_weights* weights, const sovs_conv2d_params* params,
                                                 const sovs_tuning* tuning, int64_t n, int64_t h, int64_t w,
                                                 sovs_layout layout, int32_t threads, sovs_weight_gradient** out);
/* grad: of the output's shape, in the input's layout. gradient: dense, (out_channels, in_channels, kernel_h, kernel_w),
 * with zeros where no weight is stored. */
SOVS_API sovs_status sovs_weight_gradient_run(const sovs_weight_gradient* gradient, const float* input,
                                              const float* grad, float* out, int32_t threads);
SOVS_API void sovs_weight_gradient_destroy(sovs_weight_gradient* gradient);

/* BatchNorm in training: out = (x - mean) / sqrt(variance + eps) * gamma + beta over maps (n, c, pixels), with the mean and
 * the variance (without Bessel's correction) of the batch, which are written. gamma, beta, mean, variance: (c,). */
SOVS_API sovs_status sovs_batch_norm(int64_t n, int64_t c, int64_t pixels, float eps, const float* x, const float* gamma,
                                     const float* beta, float* mean, float* variance, float* out, int32_t threads);
/* Its gradients, of the statistics as functions of x; grad_x may be NULL. */
SOVS_API sovs_status sovs_batch_norm_gradients(int64_t n, int64_t c, int64_t pixels, float eps, const float* grad,
                                               const float* x, const float* gamma, const float* mean,
                                               const float* variance, float* grad_x, float* grad_gamma, float* grad_beta,
                                               int32_t threads);

/* ---- segmentation ----------------------------------------------------------------------------------- */

/* GroupNorm of maps x (n, c, h, w), in place: (x - mean) / sqrt(variance + eps) * gamma + beta, by the moments of each
 * image's groups of c / groups channels. above: NULL, or a map (n, c, above_h, above_w) that is then enlarged bilinearly
 * (pixel centres aligned) and added. relu: 1 cuts below 0 in the end. gamma, beta: (c,). */
SOVS_API sovs_status sovs_group_norm(int64_t n, int64_t c, int64_t h, int64_t w, int64_t groups, float eps, float* x,
                                     const float* gamma, const float* beta, const float* above, int64_t above_h,
                                     int64_t above_w, int32_t relu, int32_t threads);

/* One class for every pixel, from scores (classes, grid_h, grid_w) that are enlarged bilinearly (pixel centres aligned):
 * the highest score, the first class of equal ones. Never holds the enlarged scores.
 * covered_h, covered_w: how many of the grid's rows and columns the image lies over, from the first on; above 0, whole or not.
 * logits: 1 takes the softmax of the enlarged scores as probabilities, 0 takes the scores.
 * labels: (h, w). confidence: (h, w), the label's probability; may be NULL. scores: (classes, h, w), all probabilities; may
 * be NULL. */
SOVS_API sovs_status sovs_decide(int64_t classes, int64_t grid_h, int64_t grid_w, const float* grid, double covered_h,
                                 double covered_w, int64_t h, int64_t w, int32_t logits, int64_t* labels,
                                 float* confidence, float* scores, int32_t threads);

/* What a head that predicts masks saw in a window of its encoder's input: queries, each with a mask and classes. */
typedef struct {
    int64_t top, left, h, w;    /* pixels of the input */
    int64_t queries, grid_h, grid_w;
    const float* logits;        /* (queries, grid_h, grid_w): of masks, whose cells cover the window evenly */
    const float* probabilities; /* (queries, classes) */
} sovs_mask_window;

/* One class for every pixel, by the sum over queries of a class's probability times the mask's: logits of masks are
 * enlarged bilinearly (pixel centres aligned) to their window's pixels, the sums of probabilities, the mean where windows
 * overlap and 0 where none lies, from the input's first input_h rows and input_w columns to the image (h, w). Never holds
 * masks or sums at the size of the input or the image. Queries whose probabilities together change no score by more than
 * 1e-6 are left out.
 * at_image: 1 enlarges the logits of the only window to the image too, and sums there. Others: as for sovs_decide. */
SOVS_API sovs_status sovs_decide_masks(const sovs_mask_window* windows, int32_t window_count, int64_t classes,
                                       int64_t input_h, int64_t input_w, int32_t at_image, int64_t h, int64_t w,
                                       int64_t* labels, float* confidence, float* scores, int32_t threads);

typedef struct {
    int64_t n, queries, heads;
    int64_t depth;          /* channels of a head */
    int64_t levels, points; /* of each query and head: `points` in each level */
    const int64_t* shapes; /* (levels, 2): height and width of each map */
} sovs_deformable_params;

/* Multi-scale deformable attention: for each query and head the sum over levels and points of weight * the bilinear sample
 * of the level's map there, of whose cells the centres lie at (i + 0.5) / size. Zeros lie around the maps; a location that
 * is not finite gives NaN. values: (n, cells, heads, depth), cells row by row, level after level; locations:
 * (n, queries, heads, levels, points, 2), x before y; weights: (n, queries, heads, levels, points); out:
 * (n, queries, heads, depth). SOVS_INVALID_ARGUMENT where an image's values take 1 GB or more. */
SOVS_API sovs_status sovs_deformable_attention(const sovs_deformable_params* params, const float* values,
                                               const float* locations, const float* weights, float* out, int32_t threads);
/* The same at locations = references + offsets / (width, height) of the map, with weights = softmax(logits) over all levels
 * and points of a query and head. references: (reference_images, queries, levels, 2), where reference_images is n, or 1 for
 * all images alike; offsets and logits: shaped as locations and weights. */
SOVS_API sovs_status sovs_deformable_attention_around(const sovs_deformable_params* params, const float* values,
                                                      int64_t reference_images, const float* references,
                                                      const float* offsets, const float* logits, float* out,
                                                      int32_t threads);

/* ---- encoders --------------------------------------------------------------------------------------- */

/* A whole encoder, read from a file that Python's CompiledEncoder.save wrote: runs inputs of any size, and keeps the
 * plans of the sizes that it met last. */
typedef struct sovs_encoder sovs_encoder;

typedef struct {
    int64_t n, c, h, w;
} sovs_shape;

/* SOVS_INVALID_ARGUMENT where the file is missing, damaged, foreign or newer than this library. */
SOVS_API sovs_status sovs_encoder_load(const char* path, sovs_encoder** out);
/* Channels of the input, and number of outputs. */
SOVS_API int64_t sovs_encoder_input_channels(const sovs_encoder* encoder);
SOVS_API int32_t sovs_encoder_output_count(const sovs_encoder* encoder);
/* The JSON text in the file: its steps with their names, and how the outputs are nested. Lives as long as the encoder. */
SOVS_API const char* sovs_encoder_header(const sovs_encoder* encoder);
/* Shapes of the outputs for n images of h x w pixels; `shapes` has room for sovs_encoder_output_count of them. */
SOVS_API sovs_status sovs_encoder_outputs(const sovs_encoder* encoder, int64_t n, int64_t h, int64_t w,
                                          sovs_shape* shapes);
/* input: (n, channels, h, w); outputs: of the shapes above. All of them NCHW. The first run of a size makes its plan,
 * which takes milliseconds. Any number of threads may run one encoder at the same time. */
SOVS_API sovs_status sovs_encoder_run(const sovs_encoder* encoder, const float* input, int64_t n, int64_t h, int64_t w,
                                      float* const* outputs, int32_t threads);
/* The plan that runs such an input, to be destroyed by the caller: one input, the encoder's outputs, and its steps. */
SOVS_API sovs_status sovs_encoder_plan(const sovs_encoder* encoder, int64_t n, int64_t h, int64_t w, int32_t threads,
                                       sovs_plan** out);
SOVS_API void sovs_encoder_destroy(sovs_encoder* encoder); /* plans that were taken from it live on */

#ifdef __cplusplus
}
#endif
#endif
