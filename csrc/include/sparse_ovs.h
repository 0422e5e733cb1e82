/* C API of sparse_ovs: packed sparse weights, programs and their plans, and the thread pool that runs them.
 *
 * Conventions
 *   - Every function that can fail returns a sovs_status; sovs_last_error() tells why, per thread.
 *   - Every struct begins with its size, which the caller sets to sizeof, in each element of an array too. So structs can
 *     grow at their ends: members that an older caller does not have are 0, and those that an older library does not know
 *     must be 0. A function fills as much of a caller's struct as that has.
 *   - Buffers of maps and weights are void* with a sovs_dtype. Callers' maps are SOVS_F32; other types live inside plans,
 *     and are refused where a plan would need a kernel that is not there. What is float* is fp32 for good.
 *   - SOVS_NCHW is (n, c, h, w) row-major; SOVS_NHWC is (n, h, w, c) row-major.
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
#define SOVS_ABI_VERSION 13

typedef enum { SOVS_OK = 0, SOVS_INVALID_ARGUMENT = 1, SOVS_OUT_OF_MEMORY = 2, SOVS_INTERNAL_ERROR = 3 } sovs_status;

typedef enum { SOVS_NCHW = 0, SOVS_NHWC = 1 } sovs_layout;

typedef enum { SOVS_F32 = 0, SOVS_U8 = 1, SOVS_S8 = 2, SOVS_S32 = 3, SOVS_BF16 = 4 } sovs_dtype;

/* Memory of the caller's that holds numbers side by side. */
typedef struct {
    size_t size;
    void* data;
    size_t bytes;  /* at data, at least as many as the numbers take */
    int64_t dtype; /* sovs_dtype */
} sovs_buffer;

/* A map: n images of c channels of h x w pixels. */
typedef struct {
    size_t size;
    int64_t n, c, h, w;
    int64_t layout; /* sovs_layout */
    int64_t dtype;  /* sovs_dtype */
    float scale;    /* integers stand for scale * (integer - zero_point); 0 where numbers are floats */
    int32_t zero_point;
} sovs_map;

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
/* "amxbf16" or "avx512bf16": what multiplies maps of SOVS_BF16 here; NULL where nothing does. SPARSE_OVS_AMX=0 leaves AMX
 * alone. */
SOVS_API const char* sovs_bf16_isa(void);

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
    size_t size;
    int64_t out_channels;
    int64_t in_channels; /* of one group */
    int64_t kernel_h;
    int64_t kernel_w;
    int64_t groups;
    int64_t block_rows;     /* 1, 4 or (s8) 2 output channels that share their columns; 0 for dense weights */
    const int32_t* row_ptr; /* (ceil(out_channels / block_rows) + 1,); NULL for dense weights */
    const void* indices;    /* (blocks,) columns in the tap-major flattened (kernel_h, kernel_w, in_channels) */
    int64_t index_bits;     /* 16 (unsigned) or 32 (signed) */
    const void* values;     /* (blocks, block_rows); dense: (out_channels, in_channels, kernel_h, kernel_w), as torch */
    int64_t dtype;          /* of values: SOVS_F32 or SOVS_S8 */
    const float* scales;    /* (out_channels,): of SOVS_S8 values, which stand for scale * value; else NULL */
    const float* bias;      /* (out_channels,) or NULL */
} sovs_weights_desc;

/* Copies what desc points to. Dense weights are run by the dense kernels, zeros included. */
SOVS_API sovs_status sovs_weights_create(const sovs_weights_desc* desc, sovs_weights** out);
/* From here on memory comes first: the weights are held once where possible, in the form that plans read, and plans of
 * other input sizes share it, which may cost some speed. Call it before the first plan is made. Results stay the same. */
SOVS_API sovs_status sovs_weights_hold_once(const sovs_weights* weights);
/* Bytes held: the compact copy and the streams that plans read. */
SOVS_API size_t sovs_weights_bytes(const sovs_weights* weights);
/* Of these, the compact copy, with the bias and the scales. */
SOVS_API size_t sovs_weights_packed_bytes(const sovs_weights* weights);
/* Writes the dense weight, (out_channels, in_channels, kernel_h, kernel_w). */
SOVS_API sovs_status sovs_weights_unpack(const sovs_weights* weights, float* dense);
/* Writes new values in the place of the old: weight is dense, (out_channels, in_channels, kernel_h, kernel_w), and is read
 * where weights are stored; a NULL bias leaves the old one. Plans that use the weights follow without being made anew; none
 * may run meanwhile. SOVS_INVALID_ARGUMENT for weights that are held once or that a dense kernel runs. */
SOVS_API sovs_status sovs_weights_update(const sovs_weights* weights, const float* weight, const float* bias,
                                         int32_t threads);
/* The weights of the convolution that gives the input's gradient of a convolution of stride 1: channels swapped within each
 * group, taps reversed, no bias. Its padding is dilation * (kernel - 1) - padding. Updates take the original's weight. */
SOVS_API sovs_status sovs_weights_transpose(const sovs_weights* weights, sovs_weights** out);
SOVS_API void sovs_weights_destroy(sovs_weights* weights); /* plans that use it keep it alive */

/* ---- programs --------------------------------------------------------------------------------------- */

/* What an encoder computes, at any input size: a list of records, as docs/plan-files.md describes them. */
typedef struct sovs_program sovs_program;

typedef struct {
    size_t size;
    const char* name;            /* of the conv2d record that they belong to */
    const sovs_weights* weights; /* shared with the program */
} sovs_named_weights;

typedef struct {
    size_t size;
    const char* name; /* "record.part" */
    const void* data; /* copied */
    int64_t dtype;    /* sovs_dtype */
    int64_t rank;
    const int64_t* shape; /* (rank,) */
} sovs_named_tensor;

/* header: the JSON text that a plan file holds. Convolutions take their weights from `weights`, or like all others their
 * tensors from `tensors`. */
SOVS_API sovs_status sovs_program_create(const char* header, const sovs_named_weights* weights, int32_t weight_count,
                                         const sovs_named_tensor* tensors, int32_t tensor_count, sovs_program** out);
SOVS_API void sovs_program_destroy(sovs_program* program); /* plans of it live on */

/* ---- plans ------------------------------------------------------------------------------------------ */

/* A program for maps of one size, with its tilings chosen and its weight streams expanded for `threads` threads. */
typedef struct sovs_plan sovs_plan;

/* inputs: in the program's order, with the layout that the caller's memory will have. output_layouts: a sovs_layout for
 * each output of the program; maps that live inside the plan lie as the library likes. */
SOVS_API sovs_status sovs_plan_create(const sovs_program* program, const sovs_map* inputs, int32_t input_count,
                                      const int64_t* output_layouts, int32_t output_count, int32_t threads,
                                      sovs_plan** out);
/* What the plan takes and gives: its i-th map, with the layout of the caller's memory. */
SOVS_API sovs_status sovs_plan_input(const sovs_plan* plan, int32_t i, sovs_map* out);
SOVS_API sovs_status sovs_plan_output(const sovs_plan* plan, int32_t i, sovs_map* out);
/* Buffers in the program's order. Outputs must not overlap inputs, which are not written. Runs on at most `threads`
 * threads, the caller's among them. */
SOVS_API sovs_status sovs_plan_run(const sovs_plan* plan, const sovs_buffer* inputs, int32_t input_count,
                                   const sovs_buffer* outputs, int32_t output_count, int32_t threads);
/* sovs_plan_run, and the time spent in each record, in their order: `seconds` has room for as many. Time of several threads
 * is summed where they run different strips at once. */
SOVS_API sovs_status sovs_plan_time(const sovs_plan* plan, const sovs_buffer* inputs, int32_t input_count,
                                    const sovs_buffer* outputs, int32_t output_count, int32_t threads, double* seconds);

/* 0 in any field lets the library choose. */
typedef struct {
    size_t size;
    int64_t tile_rows; /* output rows of a tile (1 for 1x1 convs, whose pixels are one flat run) */
    int64_t tile_cols; /* output pixels of a tile row */
    int64_t k_tile;    /* input channels of a panel */
    int64_t row_parts; /* output channels are split in this many parts, balanced by non-zeros */
    int64_t panel;     /* sovs_panel */
} sovs_tuning;

typedef struct {
    size_t size;
    int32_t record;      /* number of the record; of a copy, of the one that it serves */
    int32_t strip_group; /* steps with the same number run together, strip of rows by strip; -1: runs alone */
    const char* backend; /* "sparse rows1", "dense", "winograd", "pool", "copy", ...: static */
    int64_t n, c, h, w;  /* of the output */
    int64_t tile;        /* pixels of a tile in which the output lies: h * w is NCHW, 1 is NHWC */
    double density;      /* of the weights; 1 for a step without any */
    int64_t tile_rows, tile_cols, k_tile, row_parts, panel; /* as in sovs_tuning; zeros for a step without tiles */
} sovs_step_info;

/* Steps that a plan runs: those of its records, and copies of the caller's maps that the library put in. */
SOVS_API int32_t sovs_plan_step_count(const sovs_plan* plan);
/* The i-th of them, in the order in which they run. */
SOVS_API sovs_status sovs_plan_step_info(const sovs_plan* plan, int32_t i, sovs_step_info* out);
/* Bytes of activations that one run holds inside. */
SOVS_API size_t sovs_plan_arena_bytes(const sovs_plan* plan);
SOVS_API void sovs_plan_destroy(sovs_plan* plan);

/* ---- tuning ----------------------------------------------------------------------------------------- */

typedef enum {
    SOVS_NONE = 0,
    SOVS_RELU = 1,
    SOVS_GELU = 2,       /* x / 2 * (1 + erf(x / sqrt(2))) */
    SOVS_GELU_TANH = 3,  /* its approximation by tanh, as torch defines it */
    SOVS_QUICK_GELU = 4, /* x * sigmoid(1.702 x) */
    SOVS_RELU6 = 5       /* from 0 to 6 */
} sovs_activation;

typedef struct {
    size_t size;
    int64_t stride_h, stride_w;
    int64_t pad_h, pad_w;
    int64_t dilation_h, dilation_w;
    int64_t activation; /* sovs_activation, after the residual is added */
} sovs_conv2d_params;

/* Where a plan's map lies: the caller's as they are; the plan's own in its tiles where they take part in a residual add,
 * else as the steps beside them want them, pixel by pixel for the dense 3x3 kernels. In plans of several steps, a
 * caller's map that takes part in a residual add, or an output that is read again, has a twin of the plan's own: the
 * twin's place counts here. */
typedef enum { SOVS_MAP_NCHW = 0, SOVS_MAP_NHWC = 1, SOVS_MAP_TILED = 2, SOVS_MAP_FREE = 3 } sovs_map_place;

/* A convolution inside a plan, whose input has n images of h x w pixels. */
typedef struct {
    size_t size;
    int64_t n, h, w;
    int64_t input, output; /* sovs_map_place */
    int64_t residual;      /* 1: it adds one */
    int64_t alone;         /* 1: it is the plan's only step, on the caller's maps */
    int64_t dtype;         /* of its maps, where its weights are SOVS_F32: SOVS_F32 or SOVS_BF16 */
} sovs_conv2d_place;

/* The backend that runs it in a plan, as in sovs_step_info. */
SOVS_API sovs_status sovs_conv2d_backend(const sovs_weights* weights, const sovs_conv2d_params* params,
                                         const sovs_conv2d_place* place, const char** out);

/* Tunings worth timing: what the library would choose for one thread, then others. *count: room in `out`; afterwards,
 * how many there are. */
SOVS_API sovs_status sovs_conv2d_candidates(const sovs_weights* weights, const sovs_conv2d_params* params,
                                            const sovs_conv2d_place* place, sovs_tuning* out, int32_t* count);
/* Seconds that one thread takes with each of `count` tunings, the best of `rounds`. Estimated from as many pixels as fit
 * in the near caches; with the copies that a plan may put around its only step, without the residual. */
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
SOVS_API sovs_status sovs_batch_norm(int64_t n, int64_t c, int64_t pixels, float eps, const float* x,
                                     const float* gamma, const float* beta, float* mean, float* variance, float* out,
                                     int32_t threads);
/* Its gradients, of the statistics as functions of x; grad_x may be NULL. */
SOVS_API sovs_status sovs_batch_norm_gradients(int64_t n, int64_t c, int64_t pixels, float eps, const float* grad,
                                               const float* x, const float* gamma, const float* mean,
                                               const float* variance, float* grad_x, float* grad_gamma,
                                               float* grad_beta, int32_t threads);

/* ---- segmentation ----------------------------------------------------------------------------------- */

/* GroupNorm of maps x (n, c, h, w), in place: (x - mean) / sqrt(variance + eps) * gamma + beta, by the moments of each
 * image's groups of c / groups channels. above: NULL, or a map (n, c, above_h, above_w) that is then upsampled bilinearly
 * (pixel centres aligned) and added. relu: 1 cuts below 0 in the end. gamma, beta: (c,). */
SOVS_API sovs_status sovs_group_norm(int64_t n, int64_t c, int64_t h, int64_t w, int64_t groups, float eps, float* x,
                                     const float* gamma, const float* beta, const float* above, int64_t above_h,
                                     int64_t above_w, int32_t relu, int32_t threads);

/* One class for every pixel: the argmax of scores (classes, grid_h, grid_w) that are upsampled bilinearly (pixel centres
 * aligned), the first class of equal ones. Never holds the upsampled scores.
 * covered_h, covered_w: how many of the grid's rows and columns the image covers, from the first on: above 0, fractions too.
 * logits: 1 takes the softmax of the upsampled scores as probabilities, 0 takes the scores.
 * labels: (h, w). confidence: (h, w), the label's probability; may be NULL. scores: (classes, h, w), all probabilities; may
 * be NULL. */
SOVS_API sovs_status sovs_decide(int64_t classes, int64_t grid_h, int64_t grid_w, const float* grid, double covered_h,
                                 double covered_w, int64_t h, int64_t w, int32_t logits, int64_t* labels,
                                 float* confidence, float* scores, int32_t threads);

/* What a head that predicts masks saw in a window of its encoder's input: queries, each with a mask and classes. */
typedef struct {
    size_t size;
    int64_t top, left, h, w; /* pixels of the input */
    int64_t queries, grid_h, grid_w;
    const float* logits;        /* (queries, grid_h, grid_w): of masks, whose cells cover the window evenly */
    const float* probabilities; /* (queries, classes) */
} sovs_mask_window;

/* One class for every pixel: the argmax over classes of the sum over queries of the class's probability times the mask's.
 * A mask's logits are upsampled bilinearly (pixel centres aligned) to the pixels of its window, and there probabilities are
 * summed; the sums are averaged where windows overlap, and 0 where none lies. Then the sums in the input's first input_h
 * rows and input_w columns are upsampled to the image (h, w). Never holds masks or sums at the size of the input or the
 * image. Queries whose probabilities together change no score by more than 1e-6 are left out.
 * at_image: 1 upsamples the logits of the only window to the image too, and sums there. Others: as for sovs_decide. */
SOVS_API sovs_status sovs_decide_masks(const sovs_mask_window* windows, int32_t window_count, int64_t classes,
                                       int64_t input_h, int64_t input_w, int32_t at_image, int64_t h, int64_t w,
                                       int64_t* labels, float* confidence, float* scores, int32_t threads);

typedef struct {
    size_t size;
    int64_t n, queries, heads;
    int64_t depth;          /* channels of a head */
    int64_t levels, points; /* of each query and head: `points` in each level */
    const int64_t* shapes;  /* (levels, 2): height and width of each map */
} sovs_deformable_params;

/* Multi-scale deformable attention: for each query and head the sum over levels and points of weight * the bilinear sample
 * of the level's map there, of whose cells the centres lie at (i + 0.5) / size. Zeros lie around the maps; a location that
 * is not finite gives NaN. values: (n, cells, heads, depth), cells row by row, level after level; locations:
 * (n, queries, heads, levels, points, 2), x before y; weights: (n, queries, heads, levels, points); out:
 * (n, queries, heads, depth). SOVS_INVALID_ARGUMENT where an image's values take 1 GB or more. */
SOVS_API sovs_status sovs_deformable_attention(const sovs_deformable_params* params, const float* values,
                                               const float* locations, const float* weights, float* out,
                                               int32_t threads);
/* The same at locations = references + offsets / (width, height) of the map, with weights = softmax(logits) over all levels
 * and points of a query and head. references: (reference_images, queries, levels, 2), where reference_images is n, or 1 for
 * all images alike; offsets and logits: shaped as locations and weights. */
SOVS_API sovs_status sovs_deformable_attention_around(const sovs_deformable_params* params, const float* values,
                                                      int64_t reference_images, const float* references,
                                                      const float* offsets, const float* logits, float* out,
                                                      int32_t threads);

/* ---- encoders --------------------------------------------------------------------------------------- */

/* A whole encoder, read from a file that Python's CompiledEncoder.save wrote: runs inputs of any size, or of the one that
 * the file says, and keeps the plans of the sizes that it met last. */
typedef struct sovs_encoder sovs_encoder;

/* SOVS_INVALID_ARGUMENT where the file is missing, damaged, foreign or newer than this library. */
SOVS_API sovs_status sovs_encoder_load(const char* path, sovs_encoder** out);
/* Channels of the input, and number of outputs. */
SOVS_API int64_t sovs_encoder_input_channels(const sovs_encoder* encoder);
SOVS_API int32_t sovs_encoder_output_count(const sovs_encoder* encoder);
/* The JSON text in the file: its steps with their names, and how the outputs are nested. Lives as long as the encoder. */
SOVS_API const char* sovs_encoder_header(const sovs_encoder* encoder);
/* The outputs for n images of h x w pixels, NCHW; `maps` has room for sovs_encoder_output_count of them. */
SOVS_API sovs_status sovs_encoder_outputs(const sovs_encoder* encoder, int64_t n, int64_t h, int64_t w, sovs_map* maps);
/* input: (n, channels, h, w); outputs: output_count of them, as above. All of them NCHW. The first run of a size makes its
 * plan, which takes milliseconds. Any number of threads may run one encoder at the same time. */
SOVS_API sovs_status sovs_encoder_run(const sovs_encoder* encoder, const sovs_buffer* input, int64_t n, int64_t h,
                                      int64_t w, const sovs_buffer* outputs, int32_t output_count, int32_t threads);
/* The plan that runs such an input, to be destroyed by the caller: one input, the encoder's outputs, and its steps. */
SOVS_API sovs_status sovs_encoder_plan(const sovs_encoder* encoder, int64_t n, int64_t h, int64_t w, int32_t threads,
                                       sovs_plan** out);
SOVS_API void sovs_encoder_destroy(sovs_encoder* encoder); /* plans that were taken from it live on */

#ifdef __cplusplus
}
#endif
#endif
