// Tensor cores. Products are exact and are summed in double, then rounded once; the hardware truncates on the way, so
// tests need a tolerance. Fragments lie as in the PTX manual: lane 4 g + t holds row g (and g + 8), columns from 2 t.
#pragma once
#include "memory.h"

enum class Format { f16, bf16, tf32 };

static inline float half_of(u32 pair, int high, Format format) {
  u16 bits = high ? pair >> 16 : pair & 0xffff;
  return format == Format::f16 ? half_to_float(bits) : bf16_to_float(bits);
}
// Tensor cores ignore the low 13 bits.
static inline float tf32_of(u32 bits) { return bits_to_float(bits & 0xffffe000u); }

static inline void count_product(Warp& w, u64 rows, u64 columns, u64 depth) {
  w.block->counters->matrix_products++;
  w.block->counters->tensor_flops += 2 * rows * columns * depth;
}

// D (16, 8) = A (16, K) B (K, 8) + C.
template <int K>
static void accumulate(const float (&a)[16][K], const float (&b)[K][8], u32 (**d)[32], const u32** c) {
  float sums[16][8];
  for (int l = 0; l < 32; l++)
    for (int h = 0; h < 4; h++) sums[(l >> 2) + 8 * (h >> 1)][(l & 3) * 2 + (h & 1)] = bits_to_float(c[h][l]);
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < 8; j++) {
      double sum = sums[i][j];
      for (int k = 0; k < K; k++) sum += (double)a[i][k] * b[k][j];
      sums[i][j] = (float)sum;
    }
  for (int l = 0; l < 32; l++)
    for (int h = 0; h < 4; h++) (*d[h])[l] = float_to_bits(sums[(l >> 2) + 8 * (h >> 1)][(l & 3) * 2 + (h & 1)]);
}

// A's fragment (16, 16) of halves: registers 0 and 1 hold columns 0 to 7 of rows g and g + 8, 2 and 3 columns 8 to 15.
template <int K> static void read_a(const u32** a, Format format, float (&to)[16][K]) {
  for (int l = 0; l < 32; l++)
    for (int part = 0; part < K / 4; part++)
      for (int h = 0; h < 2; h++)
        to[(l >> 2) + 8 * (part & 1)][(l & 3) * 2 + h + 8 * (part >> 1)] = half_of(a[part][l], h, format);
}

template <int K>
static void multiply_half(Warp& w, u32 (**d)[32], const u32** a, const u32** b, const u32** c, Format format) {
  float left[16][K], right[K][8];
  count_product(w, 16, 8, K);
  read_a(a, format, left);
  for (int l = 0; l < 32; l++)
    for (int part = 0; part < K / 8; part++)
      for (int h = 0; h < 2; h++) right[(l & 3) * 2 + h + 8 * part][l >> 2] = half_of(b[part][l], h, format);
  accumulate(left, right, d, c);
}

static void multiply_tf32(Warp& w, u32 (**d)[32], const u32** a, const u32** b, const u32** c) {
  float left[16][8], right[8][8];
  count_product(w, 16, 8, 8);
  for (int l = 0; l < 32; l++) {
    for (int part = 0; part < 4; part++)
      left[(l >> 2) + 8 * (part & 1)][(l & 3) + 4 * (part >> 1)] = tf32_of(a[part][l]);
    for (int part = 0; part < 2; part++) right[(l & 3) + 4 * part][l >> 2] = tf32_of(b[part][l]);
  }
  accumulate(left, right, d, c);
}

// A (16, 32) is 2:4: of each four columns two are kept, and the metadata has their positions, two bits each: the low
// 16 bits of lane 4 g + 2 selector + half are for row g, the high ones for row g + 8, columns from 16 half.
static void multiply_sparse(Warp& w, u32 (**d)[32], const u32** a, const u32** b, const u32** c, const u32* metadata,
                            int selector, Format format, bool ordered) {
  float kept[16][16], left[16][32] = {}, right[32][8];
  count_product(w, 16, 8, 32);
  read_a(a, format, kept);
  for (int l = 0; l < 32; l++)
    for (int part = 0; part < 4; part++)
      for (int h = 0; h < 2; h++) right[(l & 3) * 2 + h + 8 * part][l >> 2] = half_of(b[part][l], h, format);
  for (int row = 0; row < 16; row++)
    for (int half = 0; half < 2; half++) {
      u32 word = metadata[(row & 7) * 4 + selector * 2 + half];
      u32 positions = row < 8 ? word & 0xffff : word >> 16;
      for (int group = 0; group < 4; group++) {
        int first = positions >> (4 * group) & 3, second = positions >> (4 * group + 2) & 3, four = half * 4 + group;
        if (first == second) throw Fault("mma.sp: both positions of a group are the same");
        if (ordered && first > second) throw Fault("mma.sp::ordered_metadata: positions do not increase");
        left[row][four * 4 + first] = kept[row][four * 2];
        left[row][four * 4 + second] = kept[row][four * 2 + 1];
      }
    }
  accumulate(left, right, d, c);
}

template <int K>
static void multiply_int8(Warp& w, u32 (**d)[32], const u32** a, const u32** b, const u32** c, bool a_signed,
                          bool b_signed, bool saturating) {
  int left[16][K], right[K][8];
  count_product(w, 16, 8, K);
  auto byte = [](u32 four, int i, bool is_signed) {
    u8 bits = four >> (8 * i);
    return is_signed ? (int)(s8)bits : (int)bits;
  };
  for (int l = 0; l < 32; l++)
    for (int i = 0; i < 4; i++) {
      for (int part = 0; part < K / 8; part++)
        left[(l >> 2) + 8 * (part & 1)][(l & 3) * 4 + i + 16 * (part >> 1)] = byte(a[part][l], i, a_signed);
      for (int part = 0; part < K / 16; part++)
        right[(l & 3) * 4 + i + 16 * part][l >> 2] = byte(b[part][l], i, b_signed);
    }
  s64 sums[16][8];
  for (int l = 0; l < 32; l++)
    for (int h = 0; h < 4; h++) sums[(l >> 2) + 8 * (h >> 1)][(l & 3) * 2 + (h & 1)] = (s32)c[h][l];
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < 8; j++) {
      for (int k = 0; k < K; k++) sums[i][j] += left[i][k] * right[k][j];
      if (saturating) sums[i][j] = std::min<s64>(std::max<s64>(sums[i][j], INT32_MIN), INT32_MAX);
    }
  for (int l = 0; l < 32; l++)
    for (int h = 0; h < 4; h++) (*d[h])[l] = (u32)sums[(l >> 2) + 8 * (h >> 1)][(l & 3) * 2 + (h & 1)];
}

// ldmatrix, stmatrix: matrices of 8 rows of 16 bytes; lane 8 i + r has the address of row r of matrix i ---------------

static void load_matrices(Warp& w, u32 m, int count, bool transposed, u32 (**targets)[32], const u32* rows, int line) {
  ThreadBlock& b = *w.block;
  need_whole_warp(m, line);
  u32 loaded[4][32];
  for (int i = 0; i < count; i++) {
    u64 at[32];
    for (int r = 0; r < 8; r++) {
      at[r] = rows[i * 8 + r];
      check_shared(b, at[r], 16, "ldmatrix", line);
      race_on_read(b, w, at[r], 16, line);
    }
    if (b.checks.counters) b.counters->shared_load_wavefronts += wavefronts_of(at, 0xff, 16);
    for (int l = 0; l < 32; l++) {
      int r = l >> 2, pair = (l & 3) * 2;
      loaded[i][l] = transposed ? read<u16>(&b.shared[at[pair] + r * 2]) |
                                      (u32)read<u16>(&b.shared[at[pair + 1] + r * 2]) << 16
                                : read<u32>(&b.shared[at[r] + pair * 2]);
    }
  }
  if (b.checks.counters) b.counters->shared_load_requests++;
  for (int i = 0; i < count; i++) memcpy(*targets[i], loaded[i], sizeof loaded[i]);
}

static void store_matrices(Warp& w, u32 m, int count, bool transposed, const u32** sources, const u32* rows, int line) {
  ThreadBlock& b = *w.block;
  need_whole_warp(m, line);
  for (int i = 0; i < count; i++) {
    u64 at[32];
    for (int r = 0; r < 8; r++) {
      at[r] = rows[i * 8 + r];
      check_shared(b, at[r], 16, "stmatrix", line);
      race_on_write(b, w, at[r], 16, line);
    }
    if (b.checks.counters) b.counters->shared_store_wavefronts += wavefronts_of(at, 0xff, 16);
    for (int l = 0; l < 32; l++) {
      int r = l >> 2, pair = (l & 3) * 2;
      if (transposed) {
        write<u16>(&b.shared[at[pair] + r * 2], sources[i][l] & 0xffff);
        write<u16>(&b.shared[at[pair + 1] + r * 2], sources[i][l] >> 16);
      } else {
        write<u32>(&b.shared[at[r] + pair * 2], sources[i][l]);
      }
    }
  }
  if (b.checks.counters) b.counters->shared_store_requests++;
}

// wgmma: four warps share a product; each computes its own 16 rows ----------------------------------------------------

// Byte in shared memory of an operand's element: `major` is the row of A or the column of B, `k` the depth.
static u32 operand_byte(u64 descriptor, int major, int k, bool transposed, int size) {
  u32 base = (descriptor & 0x3fff) << 4, lead = (descriptor >> 16 & 0x3fff) << 4;
  u32 stride = (descriptor >> 32 & 0x3fff) << 4;
  int swizzle = descriptor >> 62;  // 0 none, 1 128 bytes, 2 64 bytes, 3 32 bytes
  int width = swizzle == 1 ? 128 : swizzle == 2 ? 64 : swizzle == 3 ? 32 : 16;
  int flips = swizzle == 1 ? 7 : swizzle == 2 ? 3 : swizzle == 3 ? 1 : 0;
  u32 at;
  if (transposed)
    at = base + major * size % width + major * size / width * lead + k % 8 * width + k / 8 * stride;
  else if (swizzle == 0)
    at = base + major / 8 * stride + k * size / 16 * lead + major % 8 * 16 + k * size % 16;
  else
    at = base + major / 8 * stride + major % 8 * width + k * size;
  return at ^ ((at >> 7 & flips) << 4);
}

template <int N, int K, Format F>
static void start_product(Warp& w, u32 (**d)[32], const u32** a, u64 a_at, u64 b_at, bool accumulating,
                          bool a_transposed, bool b_transposed, int line) {
  const int SIZE = F == Format::tf32 ? 4 : 2;
  std::vector<u32(*)[32]> targets(d, d + N / 2);
  std::vector<u32> fragments;  // Those of registers are taken when the product is issued.
  if (a)
    for (int part = 0; part < 4; part++) fragments.insert(fragments.end(), a[part], a[part] + 32);
  const int first_row = (w.id & 3) * 16;
  Warp* warp = &w;
  auto get = [warp, line](u32 at) {
    ThreadBlock& b = *warp->block;
    check_shared(b, at, SIZE, "wgmma", line);
    race_on_read(b, *warp, at, SIZE, line);
    if (F == Format::tf32) return tf32_of(read<u32>(&b.shared[at]));
    return half_of(read<u16>(&b.shared[at]), 0, F);
  };
  auto operands = [=](std::vector<float>& left, std::vector<float>& right) {
    if (fragments.empty()) {
      for (int i = 0; i < 16; i++)
        for (int k = 0; k < K; k++)
          left[i * K + k] = get(operand_byte(a_at, first_row + i, k, a_transposed, SIZE));
    } else {
      for (int l = 0; l < 32; l++)
        for (int part = 0; part < 4; part++) {
          u32 bits = fragments[part * 32 + l];
          float* row = &left[((l >> 2) + 8 * (part & 1)) * K];
          if (F == Format::tf32) row[(l & 3) + 4 * (part >> 1)] = tf32_of(bits);
          else
            for (int h = 0; h < 2; h++) row[(l & 3) * 2 + h + 8 * (part >> 1)] = half_of(bits, h, F);
        }
    }
    for (int n = 0; n < N; n++)
      for (int k = 0; k < K; k++) right[k * N + n] = get(operand_byte(b_at, n, k, b_transposed, SIZE));
  };
  std::vector<float> left(16 * K), right(K * N);
  operands(left, right);  // Finds what was not ready when it was issued;
  count_product(w, 16, N, K);
  w.products.push_back({w.product_group, [=]() {
    std::vector<float> left(16 * K), right(K * N);
    operands(left, right);  // and uses what lies there when it may end at the latest.
    for (int l = 0; l < 32; l++)
      for (int h = 0; h < N / 2; h++) {
        int row = (l >> 2) + (h >> 1 & 1) * 8, column = (h >> 2) * 8 + (l & 3) * 2 + (h & 1);
        u32& target = (*targets[h])[l];
        double sum = accumulating ? bits_to_float(target) : 0.0;
        for (int k = 0; k < K; k++) sum += (double)left[row * K + k] * right[k * N + column];
        target = float_to_bits((float)sum);
      }
  }});
}

// Ends the products of all but the last `keep` groups.
static void wait_products(Warp& w, u32 keep) {
  size_t done = 0;
  while (done < w.products.size() && w.products[done].group + keep < w.product_group) w.products[done++].finish();
  w.products.erase(w.products.begin(), w.products.begin() + done);
}
