// Direct convolution and matrix product of an unstructured sparse weight without tensor cores: no im2col, every kept
// weight is an offset into the padded image (Chen 2018, "Escort: efficient sparse convolutional neural networks on GPUs").
//
// y[image][o][pixel] = finish(sum over kept weights (o, tap, channel) of value * x[image][offset + place(pixel)])
//
// A warp owns one output channel and 32 * LANE_PIXELS output pixels of one image, a lane LANE_PIXELS of them: RUNS runs of
// VECTOR neighbours. The warps of a block own the same pixels and channels of about the same number of weights (the
// format orders rows by it), so that they finish together and share what the cache holds.
//
// The warp stages its row's weights in shared memory, 32 * ENTRIES at a time by aligned 16-byte loads: a row begins
// anywhere, so the first load starts at the multiple of ENTRIES before, and the borrowed weights are passed over
// (reverse-offset alignment; Gale et al. 2020). Columns become offsets while they are staged, once for all pixels.
//
// Macros: DTYPE; WARPS of a block; VECTOR: neighbours in memory that a lane reads at once, 1 unless POINTWISE; RUNS;
// POINTWISE: 1 where the kernel is 1 x 1 with strides 1, so that pixels follow one another as in memory.
#include "number.cuh"
#include "output.cuh"

constexpr int ENTRIES = 16 / sizeof(Number);  // weights in 16 bytes
constexpr int STAGED = 32 * ENTRIES;
constexpr int COLUMNS_AT_ONCE = 4;
constexpr int BLOCKS = 32 / WARPS;  // at least, on a multiprocessor: 64 registers for each thread

struct alignas(8) Entry {
  float value;
  int offset;
};

struct Geometry {
  int plane, pitch;  // numbers in a channel and in a row of the padded image
  int channels, kernel_width, dilation_y, dilation_x;
};

__device__ __forceinline__ int offset_of(int column, const Geometry& g) {
#if POINTWISE
  return column * g.plane;
#else
  const int tap = column / g.channels;
  const int tap_y = tap / g.kernel_width, tap_x = tap - tap_y * g.kernel_width;
  return (column - tap * g.channels) * g.plane + tap_y * g.dilation_y * g.pitch + tap_x * g.dilation_x;
#endif
}

// Stages the entries from `first`, a multiple of ENTRIES. Lanes past `end`, which is behind `first`, repeat the last ones:
// a branch here would cost the warp its convergence, and with it a call for every barrier.
__device__ __forceinline__ void stage(Entry* staged, const Number* values, const int* columns, int first, int end,
                                      const Geometry& g) {
  const int lane = min(static_cast<int>(threadIdx.x % 32), (end - 1 - first) / ENTRIES);
  const int mine = first + lane * ENTRIES;
  // The arrays end at a multiple of 8, so these reads stay inside past the last row, too.
  const Numbers<ENTRIES> numbers = load_numbers<ENTRIES>(values + mine);
#pragma unroll
  for (int i = 0; i < ENTRIES; i += COLUMNS_AT_ONCE) {
    const int4 four = *reinterpret_cast<const int4*>(columns + mine + i);
    const int column[COLUMNS_AT_ONCE] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int j = 0; j < COLUMNS_AT_ONCE; ++j) {
      staged[lane * ENTRIES + i + j] = {to_float(numbers.at[i + j]), offset_of(column[j], g)};
    }
  }
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, BLOCKS)
    csr_direct(const Number* __restrict__ x,  // (images, channels, padded height, padded width)
               const Number* __restrict__ values, const int* __restrict__ columns, const int* __restrict__ rows,
               const int* __restrict__ row_order, const float* __restrict__ bias, const Number* __restrict__ added,
               Number* __restrict__ y,  // (images, out_channels, pixels)
               long long image, int plane, int pitch, int channels, int kernel_width, int stride_y, int stride_x,
               int dilation_y, int dilation_x, int out_channels, int out_width, int pixels, int relu) {
  __shared__ __align__(16) Entry all_staged[WARPS][STAGED];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int turn = blockIdx.y * WARPS + warp;
  if (turn >= out_channels) return;
  // Shuffled, so that the compiler knows them for the same in all lanes, and the loop's barriers for convergent.
  const int row = __shfl_sync(~0u, row_order[turn], 0);
  const int begin = __shfl_sync(~0u, rows[row], 0), end = __shfl_sync(~0u, rows[row + 1], 0);
  const Geometry g = {plane, pitch, channels, kernel_width, dilation_y, dilation_x};
  Entry* staged = all_staged[warp];
  x += blockIdx.z * image;

  // Lanes past the last pixel read the first one again, and write nothing.
  int pixel[RUNS], place[RUNS];
#pragma unroll
  for (int i = 0; i < RUNS; ++i) {
    pixel[i] = ((blockIdx.x * RUNS + i) * 32 + lane) * VECTOR;
    const int inside = pixel[i] < pixels ? pixel[i] : 0;
#if POINTWISE
    place[i] = inside;
#else
    const int out_y = inside / out_width;
    place[i] = out_y * stride_y * pitch + (inside - out_y * out_width) * stride_x;
#endif
  }

  float sums[RUNS][VECTOR] = {};
  int passed = begin % ENTRIES;  // borrowed from the row before
  for (int first = begin - passed; first < end; first += STAGED) {
    __syncwarp();  // all lanes are done with the entries before
    stage(staged, values, columns, first, end, g);
    __syncwarp();
    const int count = min(STAGED, end - first);
#pragma unroll 4
    for (int i = passed; i < count; ++i) {
      const Entry entry = staged[i];
      const Number* from = x + entry.offset;
#pragma unroll
      for (int j = 0; j < RUNS; ++j) {
        const Numbers<VECTOR> numbers = load_numbers<VECTOR>(from + place[j]);
#pragma unroll
        for (int k = 0; k < VECTOR; ++k) sums[j][k] = fmaf(entry.value, to_float(numbers.at[k]), sums[j][k]);
      }
    }
    passed = 0;
  }

  const Output output = {bias, added, relu};
  const long long out_row = (static_cast<long long>(blockIdx.z) * out_channels + row) * pixels;
#pragma unroll
  for (int j = 0; j < RUNS; ++j) {
    if (pixel[j] >= pixels) continue;
    Numbers<VECTOR> numbers = {};
    const long long at = out_row + pixel[j];
    if (added != nullptr) numbers = load_numbers<VECTOR>(added + at);
#pragma unroll
    for (int k = 0; k < VECTOR; ++k) {
      const float more = added != nullptr ? to_float(numbers.at[k]) : 0.f;
      numbers.at[k] = to_number(output.rectified(sums[j][k] + (bias != nullptr ? bias[row] : 0.f) + more));
    }
    store_numbers<VECTOR>(y + at, numbers);
  }
}
