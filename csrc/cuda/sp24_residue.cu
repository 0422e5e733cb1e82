// Convolution and matrix product of any sparse weight on sparse tensor cores: 2:4 by mma.sp, the weights that do not fit
// 2:4 (the residue) one by one.
//
// y[pixel][o] = finish(sum over taps and channels of weight[o][tap][channel] * x[input pixel(pixel, tap)][channel])
//
// As a matrix product: rows are output channels, columns are output pixels (of all images), and the inner dimension runs
// over (tap, channel) in steps of 64 channels of one tap. A block owns ROWS x PIXELS of the output:
//
//   - Its pipeline holds STAGES steps in shared memory: the activations of PIXELS pixels, 64 channels each (128 bytes,
//     the eight 16-byte chunks of a pixel swapped around by an XOR with the pixel's number, so that ldmatrix reads meet
//     no bank twice), and the weights, which the format has laid out as lanes take them.
//   - WARPS_ROWS x WARPS_PIXELS warps each own a part of the block's output in registers.
//   - Then all sums go to shared memory; each warp adds the residue of its rows, a lane a pixel; and 16-byte stores write
//     the output.
//
// Macros: DTYPE (half or bfloat), ROWS (a multiple of 16 * WARPS_ROWS), PIXELS (a multiple of 32 and 8 * WARPS_PIXELS),
// WARPS_ROWS, WARPS_PIXELS, STAGES; BLOCKS that a multiprocessor holds at once; POINTWISE: 1 where the kernel is 1 x 1,
// strides 1, no padding; CHANNELS_ALIGNED and OUT_ALIGNED: 1 where the channels, or output channels, are a multiple of 8
// and pointers of 16 bytes.
#include "number.cuh"
#include "output.cuh"
#include "shared_memory.cuh"
#include "sparse_mma.cuh"

constexpr int STEP = 64;                     // channels
constexpr int CHUNK = 8;                     // numbers in 16 bytes
constexpr int CHUNKS = STEP / CHUNK;         // of a pixel in a step
constexpr int ROW_TILES = ROWS / 16;
constexpr int WARPS = WARPS_ROWS * WARPS_PIXELS;
constexpr int THREADS = 32 * WARPS;
constexpr int WARP_TILES = ROW_TILES / WARPS_ROWS;         // of 16 rows
constexpr int WARP_COLUMNS = PIXELS / WARPS_PIXELS / 8;    // of 8 pixels
constexpr int LOADS = PIXELS * CHUNKS / THREADS;           // chunks of activations that a thread loads in a step
constexpr int WEIGHT_CHUNKS = ROW_TILES * 2 * 32;          // two instructions, 32 lanes
constexpr int METADATA_CHUNKS = ROW_TILES * 32 / 4;
constexpr int LANE_PIXELS = PIXELS / 32;                   // of a lane, for the residue
constexpr int SUMS_PITCH = PIXELS + 1;                     // odd: neither rows nor columns share a bank

constexpr int WEIGHT_LOADS = WEIGHT_CHUNKS / THREADS;

struct Stage {
  uint4 activations[PIXELS * CHUNKS];
  uint4 weights[WEIGHT_CHUNKS];
  uint4 metadata[METADATA_CHUNKS];
};

static_assert(ROWS % (16 * WARPS_ROWS) == 0 && PIXELS % (8 * WARPS_PIXELS) == 0 && PIXELS % 32 == 0, "tile");
static_assert(PIXELS * CHUNKS % THREADS == 0 && THREADS / CHUNKS % CHUNKS == 0, "loads of activations");
static_assert(WEIGHT_CHUNKS % THREADS == 0 && METADATA_CHUNKS <= THREADS, "loads of weights");

struct Geometry {
  int height, width, channels;
  int out_height, out_width, out_channels;
  int kernel_width;
  int stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
  int pixels;  // of all output images
};

// An output pixel, as the input sees it.
struct Pixel {
  long long origin;  // index of its first number under the kernel's first tap, which may lie outside
  int top, left;     // input row and column there
  bool inside;       // is a pixel at all

  __device__ __forceinline__ void set(int pixel, const Geometry& g) {
    inside = pixel < g.pixels;
#if POINTWISE
    origin = static_cast<long long>(pixel) * g.channels;
#else
    const int row = pixel / g.out_width;
    const int number = row / g.out_height;
    top = (row - number * g.out_height) * g.stride_y - g.padding_y;
    left = (pixel - row * g.out_width) * g.stride_x - g.padding_x;
    origin = ((static_cast<long long>(number) * g.height + top) * g.width + left) * g.channels;
#endif
  }

  // Whether there is an input pixel under a tap.
  __device__ __forceinline__ bool has(int tap_y, int tap_x, const Geometry& g) const {
#if POINTWISE
    return inside;
#else
    // As unsigned, what is negative is large. No branches: `&`.
    return inside & (static_cast<unsigned>(top + tap_y * g.dilation_y) < static_cast<unsigned>(g.height)) &
           (static_cast<unsigned>(left + tap_x * g.dilation_x) < static_cast<unsigned>(g.width));
#endif
  }
};

// From a pixel's origin to its first number under a tap.
__device__ __forceinline__ long long tap_offset(int tap_y, int tap_x, const Geometry& g) {
#if POINTWISE
  return 0;
#else
  return (static_cast<long long>(tap_y * g.dilation_y) * g.width + tap_x * g.dilation_x) * g.channels;
#endif
}

// Loads steps one after the other; each thread the same chunks of every step.
struct Loader {
  const Number* x;
  Pixel pixels[LOADS];
  const uint4* weights[WEIGHT_LOADS];
  const uint4* metadata;
  unsigned to;  // where this thread's first chunk goes, in the first stage
  int steps, step, tap_y, tap_x, channel;

  __device__ __forceinline__ Loader(const Number* x, const uint4* all_weights, const uint4* all_metadata, int steps,
                                    unsigned stages, const Geometry& g)
      : x(x), steps(steps), step(0), tap_y(0), tap_x(0), channel(0) {
    const int thread = threadIdx.x;
#pragma unroll
    for (int i = 0; i < LOADS; ++i) pixels[i].set(blockIdx.x * PIXELS + thread / CHUNKS + i * (THREADS / CHUNKS), g);
    to = stages + (thread / CHUNKS * CHUNKS + (thread % CHUNKS ^ thread / CHUNKS % CHUNKS)) * 16;
    const int last = (g.out_channels - 1) / 16;
    // Tiles past the weight repeat its last: zeros would be no valid metadata.
    const auto first_step = [&](int tile) {
      return static_cast<long long>(min(static_cast<int>(blockIdx.y) * ROW_TILES + tile, last)) * steps;
    };
#pragma unroll
    for (int i = 0; i < WEIGHT_LOADS; ++i) {
      const int chunk = thread + i * THREADS;
      weights[i] = all_weights + first_step(chunk / 64) * 64 + chunk % 64;
    }
    metadata = all_metadata + first_step(thread / 8) * 8 + thread % 8;
  }

  __device__ __forceinline__ void load(int stage, unsigned stages, const Geometry& g) {
    if (step < steps) {
      load_activations(to + stage * sizeof(Stage), g);
      load_weights(stages + stage * sizeof(Stage) + threadIdx.x * 16);
      ++step;
      channel += STEP;
      if (channel >= g.channels) {
        channel = 0;
        if (++tap_x == g.kernel_width) {
          tap_x = 0;
          ++tap_y;
        }
      }
    }
    commit_copies();  // also where nothing is left to load: waits count groups
  }

  __device__ __forceinline__ void load_activations(unsigned to, const Geometry& g) const {
    const int from = channel + threadIdx.x % CHUNKS * CHUNK;
    const long long offset = tap_offset(tap_y, tap_x, g) + from;
#pragma unroll
    for (int i = 0; i < LOADS; ++i) {
      const unsigned place = to + i * THREADS * 16;
      const bool has = pixels[i].has(tap_y, tap_x, g);
#if CHANNELS_ALIGNED
      const bool present = has & (from < g.channels);
      copy_async_16(place, x + (present ? pixels[i].origin + offset : 0), present);
#else
      Numbers<CHUNK> numbers;
#pragma unroll
      for (int j = 0; j < CHUNK; ++j) {
        numbers.at[j] = has && from + j < g.channels ? x[pixels[i].origin + offset + j] : Number(0);
      }
      store_shared_16(place, *reinterpret_cast<const uint4*>(&numbers));
#endif
    }
  }

  __device__ __forceinline__ void load_weights(unsigned to) const {
#pragma unroll
    for (int i = 0; i < WEIGHT_LOADS; ++i) {
      copy_async_16(to + sizeof(Stage::activations) + i * THREADS * 16, weights[i] + step * 64);
    }
    if (threadIdx.x < METADATA_CHUNKS) {
      copy_async_16(to + sizeof(Stage::activations) + sizeof(Stage::weights), metadata + step * 8);
    }
  }
};

typedef float Sums[WARP_TILES][WARP_COLUMNS][4];

// What a lane reads of a stage: shared addresses in the first one.
struct Reader {
  unsigned activations[2];  // of the two instructions of a step
  unsigned weights, metadata;

  __device__ __forceinline__ Reader(unsigned stages, int warp_row, int warp_pixel) {
    const int lane = threadIdx.x % 32;
    const unsigned pixel = stages + (warp_pixel * WARP_COLUMNS * 8 + lane % 8) * (CHUNKS * 16);
    activations[0] = pixel + (lane / 8 ^ lane % 8) * 16;
    activations[1] = pixel + (lane / 8 ^ lane % 8 ^ 4) * 16;
    weights = stages + sizeof(Stage::activations) + (warp_row * WARP_TILES * 64 + lane) * 16;
    metadata = stages + sizeof(Stage::activations) + sizeof(Stage::weights) + (warp_row * WARP_TILES * 32 + lane) * 4;
  }

  template <int INSTRUCTION>
  __device__ __forceinline__ void multiply(Sums& sums, int stage) const {
    const unsigned offset = stage * sizeof(Stage);
    unsigned numbers[WARP_COLUMNS][4];
#pragma unroll
    for (int column = 0; column < WARP_COLUMNS; ++column) {
      load_matrices(numbers[column], activations[INSTRUCTION] + offset + column * 8 * CHUNKS * 16);
    }
#pragma unroll
    for (int tile = 0; tile < WARP_TILES; ++tile) {
      const uint4 values = load_shared_16(weights + offset + (tile * 64 + INSTRUCTION * 32) * 16);
      const unsigned positions = load_shared_4(metadata + offset + tile * 32 * 4);
#pragma unroll
      for (int column = 0; column < WARP_COLUMNS; ++column) {
        sparse_mma<INSTRUCTION>(sums[tile][column], values, numbers[column], positions);
      }
    }
  }
};

// The residue of one row, added to that row's sums of all pixels; every lane has the same row.
__device__ __forceinline__ void add_residue(float* sums, const Number* x, const Number* values, const int* columns,
                                            int begin, int end, const Pixel (&pixels)[LANE_PIXELS], const Geometry& g) {
  float more[LANE_PIXELS] = {};
  for (int i = begin; i < end; ++i) {
    const float value = to_float(values[i]);
    const int column = columns[i];
    const int tap = column / g.channels;
    const int channel = column - tap * g.channels;
    const int tap_y = tap / g.kernel_width, tap_x = tap - tap_y * g.kernel_width;
    const long long offset = tap_offset(tap_y, tap_x, g) + channel;
#pragma unroll
    for (int j = 0; j < LANE_PIXELS; ++j) {
      if (pixels[j].has(tap_y, tap_x, g)) more[j] = fmaf(value, to_float(x[pixels[j].origin + offset]), more[j]);
    }
  }
#pragma unroll
  for (int j = 0; j < LANE_PIXELS; ++j) sums[threadIdx.x % 32 + j * 32] += more[j];
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    sp24_residue(const Number* __restrict__ x,        // (images, height, width, channels)
                 const uint4* __restrict__ weights,   // (row tiles, steps, 2, 32), eight numbers each
                 const uint4* __restrict__ metadata,  // (row tiles, steps, 8), four words each
                 const Number* __restrict__ residue_values, const int* __restrict__ residue_columns,
                 const int* __restrict__ residue_rows,  // (out_channels + 1)
                 const float* __restrict__ bias, const Number* __restrict__ added,
                 Number* __restrict__ y,  // (images, out_height, out_width, out_channels)
                 int steps, int height, int width, int channels, int out_height, int out_width, int out_channels,
                 int kernel_width, int stride_y, int stride_x, int padding_y, int padding_x, int dilation_y,
                 int dilation_x, int pixels, int relu) {
  extern __shared__ __align__(16) unsigned char shared[];
  const unsigned stages = shared_address(shared);

  const Geometry g = {height,   width,    channels,  out_height, out_width,  out_channels, kernel_width,
                      stride_y, stride_x, padding_y, padding_x,  dilation_y, dilation_x,   pixels};
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_row = warp % WARPS_ROWS, warp_pixel = warp / WARPS_ROWS;
  const int first_pixel = blockIdx.x * PIXELS, first_row = blockIdx.y * ROWS;

  Loader loader(x, weights, metadata, steps, stages, g);
  const Reader reader(stages, warp_row, warp_pixel);
  Sums sums = {};
#pragma unroll
  for (int i = 0; i < STAGES - 1; ++i) loader.load(i, stages, g);
  int now = 0;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    wait_for_copies<STAGES - 2>();
    // After it this step is there for all, and all are done with the step before, whose stage is loaded next.
    __syncthreads();
    loader.load(now == 0 ? STAGES - 1 : now - 1, stages, g);
    reader.multiply<0>(sums, now);
    reader.multiply<1>(sums, now);
    now = now == STAGES - 1 ? 0 : now + 1;
  }
  wait_for_copies<0>();
  __syncthreads();  // the stages make room for the sums

  float* table = reinterpret_cast<float*>(shared);  // [ROWS][SUMS_PITCH]
#pragma unroll
  for (int tile = 0; tile < WARP_TILES; ++tile) {
#pragma unroll
    for (int column = 0; column < WARP_COLUMNS; ++column) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = (warp_row * WARP_TILES + tile) * 16 + lane / 4 + i / 2 * 8;
        const int pixel = (warp_pixel * WARP_COLUMNS + column) * 8 + lane % 4 * 2 + i % 2;
        table[row * SUMS_PITCH + pixel] = sums[tile][column][i];
      }
    }
  }
  __syncthreads();

  Pixel lane_pixels[LANE_PIXELS];
#pragma unroll
  for (int j = 0; j < LANE_PIXELS; ++j) lane_pixels[j].set(first_pixel + lane + j * 32, g);
  for (int row = warp; row < ROWS && first_row + row < out_channels; row += WARPS) {
    const int begin = residue_rows[first_row + row], end = residue_rows[first_row + row + 1];
    if (begin == end) continue;
    add_residue(table + row * SUMS_PITCH, x, residue_values, residue_columns, begin, end, lane_pixels, g);
  }
  __syncthreads();

  const Output output = {bias, added, relu};
  constexpr int ROW_CHUNKS = ROWS / CHUNK;
  for (int i = threadIdx.x; i < PIXELS * ROW_CHUNKS; i += THREADS) {
    const int chunk = i % ROW_CHUNKS, pixel = i / ROW_CHUNKS;
    const int channel = first_row + chunk * CHUNK;
    if (first_pixel + pixel >= pixels || channel >= out_channels) continue;
    const long long place = static_cast<long long>(first_pixel + pixel) * out_channels + channel;
    const float* column = table + chunk * CHUNK * SUMS_PITCH + pixel;
#if OUT_ALIGNED
    Numbers<CHUNK> numbers = {};
    if (added != nullptr) numbers = load_numbers<CHUNK>(added + place);
#pragma unroll
    for (int j = 0; j < CHUNK; ++j) {
      float sum = column[j * SUMS_PITCH];
      if (bias != nullptr) sum += bias[channel + j];
      if (added != nullptr) sum += to_float(numbers.at[j]);
      numbers.at[j] = to_number(output.rectified(sum));
    }
    store_numbers<CHUNK>(y + place, numbers);
#else
    for (int j = 0; j < CHUNK && channel + j < out_channels; ++j) {
      y[place + j] = to_number(output.finish(column[j * SUMS_PITCH], channel + j, place + j));
    }
#endif
  }
}
