// Warps and thread blocks on a CPU. A warp's registers are arrays of 32 lanes; every lane has its own place in the
// program (pc, the number of a block), and the warp always runs the lanes with the smallest, so that structured code
// converges again. A barrier parks the warp.
#pragma once
#include "standard.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

// A block's function says what its warp does next.
enum class Outcome { go_on, barrier, done };

// Ends the launch: what the hardware would answer with an error, or with nonsense.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// In the order of Counters in kernel.py.
struct Counters {
  u64 warp_instructions = 0, divergent_instructions = 0, matrix_products = 0, tensor_flops = 0;
  u64 load_requests = 0, load_sectors = 0, store_requests = 0, store_sectors = 0;
  u64 shared_load_requests = 0, shared_load_wavefronts = 0, shared_store_requests = 0, shared_store_wavefronts = 0;
  u64 async_bytes = 0, global_bytes = 0, barriers = 0, races = 0;
};

// Who last wrote and read some bytes of shared memory, and when: epochs are what barriers part.
struct Shadow {
  u32 write_epoch = 0, read_epoch = 0;
  u16 writer = 0xffff, reader = 0xffff, copies_in_flight = 0;
};
static const u16 SEVERAL_READERS = 0xfffe;

// A cp.async whose bytes have been read but have not landed.
struct Copy {
  u32 to;
  u8 size;
  u8 bytes[16];
  u32 group;
};

// A wgmma that has been issued; `finish` reads the operands and writes the accumulators.
struct Product {
  u32 group;
  std::function<void()> finish;
};

struct Checks {
  bool races, bounds, counters;
};

struct ThreadBlock {
  u32 index[3], grid[3], threads[3];
  std::vector<u8> shared;
  std::vector<Shadow> shadow;
  u32 epoch = 1;
  Checks checks;
  Counters* counters;
  const u8* params;
  const std::vector<std::pair<u64, u64>>* ranges;  // of global memory, sorted: first byte, one past the last
  std::vector<std::string>* findings;
  std::set<u64>* reported;
};

struct Warp {
  u32 pc[32];
  u32 live;
  int id;
  ThreadBlock* block;
  std::vector<Copy> copies;
  u32 copy_group;
  std::vector<Product> products;
  u32 product_group;
  u8* local;
};

#define LANES for (int l = 0; l < 32; ++l) if (EVERY_LANE || (m >> l & 1))

static inline int count_lanes(u32 mask) { return __builtin_popcount(mask); }

static inline std::string at_line(int line) { return ", ptx line " + std::to_string(line); }

// Once for a line and a kind of finding; a launch goes on after a race.
static void report_race(ThreadBlock& b, const std::string& text, int line, int kind) {
  b.counters->races++;
  if (b.reported->insert((u64)line << 8 | kind).second && b.findings->size() < 20)
    b.findings->push_back(text + at_line(line));
}

static inline u32 thread_index(const Warp& w, int lane, int axis) {
  const u32* n = w.block->threads;
  u32 t = w.id * 32 + lane;
  return axis == 0 ? t % n[0] : axis == 1 ? t / n[0] % n[1] : t / (n[0] * n[1]);
}

static inline void count_instructions(Warp& w, u32 n, bool every_lane) {
  w.block->counters->warp_instructions += n;
  if (!every_lane) w.block->counters->divergent_instructions += n;
}

static inline Outcome reach_barrier(Warp& w, u32 m, int line) {
  if (m != w.live) throw Fault("barrier in divergent code" + at_line(line));
  w.block->counters->barriers++;
  return Outcome::barrier;
}

static inline void need_whole_warp(u32 m, int line) {
  if (m != ~0u) throw Fault("an instruction of the whole warp with inactive lanes" + at_line(line));
}

// Numbers -----------------------------------------------------------------------------------------------------------

template <class To, class From> static inline To bit_cast(From from) {
  To to;
  static_assert(sizeof to == sizeof from);
  memcpy(&to, &from, sizeof to);
  return to;
}
static inline float bits_to_float(u32 x) { return bit_cast<float>(x); }
static inline u32 float_to_bits(float x) { return bit_cast<u32>(x); }
static inline double bits_to_double(u64 x) { return bit_cast<double>(x); }
static inline u64 double_to_bits(double x) { return bit_cast<u64>(x); }
static inline float half_to_float(u16 x) { return (float)bit_cast<_Float16>(x); }
static inline u16 float_to_half(float x) { return bit_cast<u16>((_Float16)x); }
static inline float bf16_to_float(u16 x) { return bits_to_float((u32)x << 16); }
static inline u16 float_to_bf16(float x) {
  u32 u = float_to_bits(x);
  if ((u & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}
// cvt.rna: to nearest, ties away from zero.
static inline u32 round_to_tf32(u32 x) {
  return (x & 0x7f800000) == 0x7f800000 ? x : (x + 0x1000u) & 0xffffe000u;
}
static inline float relu(float x) { return x > 0 || std::isnan(x) ? x : 0.f; }

template <class T> static inline T saturate(double x) {
  if (std::isnan(x)) return 0;
  if (x <= (double)std::numeric_limits<T>::min()) return std::numeric_limits<T>::min();
  if (x >= (double)std::numeric_limits<T>::max()) return std::numeric_limits<T>::max();
  return (T)x;
}

// Bits --------------------------------------------------------------------------------------------------------------

static inline u64 low_bits(u32 n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }
static inline u64 extract_field(u64 x, u32 start, u32 length, u32 width, bool is_signed) {
  if (length == 0) return 0;
  u64 field = start >= 64 ? 0 : (x >> start) & low_bits(length);
  u32 top = std::min(start + length - 1, width - 1);  // A field past the end is filled with the sign.
  if (is_signed && (x >> top & 1)) field |= ~low_bits(start > top ? 0 : top - start + 1);
  return field;
}
static inline u64 insert_field(u64 field, u64 into, u32 start, u32 length) {
  if (start >= 64) return into;
  u64 mask = low_bits(length) << start;
  return (into & ~mask) | (field << start & mask);
}
static inline u32 permute_bytes(u32 a, u32 b, u32 selector) {
  u64 both = (u64)a | (u64)b << 32;
  u32 result = 0;
  for (int i = 0; i < 4; i++) {
    u32 pick = selector >> (4 * i) & 15, byte = both >> (8 * (pick & 7)) & 255;
    if (pick & 8) byte = byte & 128 ? 255 : 0;
    result |= byte << (8 * i);
  }
  return result;
}
static inline u32 logic3(u32 a, u32 b, u32 c, u32 table) {
  u32 result = 0;
  for (int i = 0; i < 8; i++)
    if (table >> i & 1) result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  return result;
}
static inline u32 reverse_bits(u32 x) {
  u32 result = 0;
  for (int i = 0; i < 32; i++) result |= (x >> i & 1) << (31 - i);
  return result;
}

// Shuffles ----------------------------------------------------------------------------------------------------------

enum class Shuffle { idx, bfly, up, down };
static inline u32 shuffle(Shuffle mode, int lane, u32 active, const u32* value, const u32* by, const u32* clamp,
                          const u32* members, bool& inside, int line) {
  u32 named = members[lane];
  if ((named & active) != named) throw Fault("shfl.sync: a named lane is not converged" + at_line(line));
  int segment = clamp[lane] >> 8 & 31, step = by[lane] & 31;
  int limit = (lane & segment) | (clamp[lane] & 31 & ~segment);
  int from = mode == Shuffle::idx    ? ((lane & segment) | (step & ~segment))
             : mode == Shuffle::bfly ? (lane ^ step)
             : mode == Shuffle::up   ? lane - step
                                     : lane + step;
  inside = mode == Shuffle::up ? from >= limit : from <= limit;
  if (!inside) return value[lane];
  if (!(named >> from & 1)) throw Fault("shfl.sync reads a lane that is not named" + at_line(line));
  return value[from];
}
