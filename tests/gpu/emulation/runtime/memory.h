// Global and shared memory: bounds, alignment, races, asynchronous copies, and what accesses cost.
#pragma once
#include "warp.h"

// Generic addresses from here up are the block's shared memory; below are the host's own addresses.
static const u64 SHARED_WINDOW = 0x100000000000000ull;
static inline u64 shared_offset(u64 at) { return at >= SHARED_WINDOW ? at - SHARED_WINDOW : (u32)at; }

enum class Use { load, store, atomic };
static inline const char* name_of(Use use) {
  return use == Use::load ? "load" : use == Use::store ? "store" : "atomic";
}

template <class T> static inline T read(const void* from) {
  T value;
  memcpy(&value, from, sizeof value);
  return value;
}
template <class T> static inline void write(void* to, T value) { memcpy(to, &value, sizeof value); }

// Bounds ------------------------------------------------------------------------------------------------------------

static inline void check_global(const ThreadBlock& b, u64 at, u32 size, const char* what, int line) {
  if (!b.checks.bounds) return;
  auto range = std::upper_bound(b.ranges->begin(), b.ranges->end(), std::pair<u64, u64>(at, ~0ull));
  if (range != b.ranges->begin() && at + size <= (--range)->second) {
    if (at % size) throw Fault(std::string("misaligned global ") + what + at_line(line));
    return;
  }
  char text[160];
  snprintf(text, sizeof text, "out-of-bounds global %s of %u bytes at %#llx, block (%u, %u, %u)", what, size,
           (unsigned long long)at, b.index[0], b.index[1], b.index[2]);
  throw Fault(text + at_line(line));
}

static inline void check_shared(const ThreadBlock& b, u64 at, u32 size, const char* what, int line) {
  if (at + size > b.shared.size()) {
    char text[160];
    snprintf(text, sizeof text, "out-of-bounds shared %s of %u bytes at %llu of %zu", what, size,
             (unsigned long long)at, b.shared.size());
    throw Fault(text + at_line(line));
  }
  if (at % size) throw Fault(std::string("misaligned shared ") + what + at_line(line));
}

// Races of warps in shared memory. Lanes of one warp are taken to be ordered. ----------------------------------------

enum RaceKind { RAW = 1, WAW, WAR, UNWAITED, DOUBLE_COPY };

static inline void race_on_read(ThreadBlock& b, const Warp& w, u64 at, u32 size, int line) {
  if (!b.checks.races) return;
  for (u32 i = 0; i < size; i += SHADOW_BYTES) {
    Shadow& s = b.shadow[(at + i) / SHADOW_BYTES];
    if (s.write_epoch == b.epoch && s.writer != w.id)
      report_race(b, "shared RAW race: warp " + std::to_string(w.id) + " reads byte " + std::to_string(at + i) +
                         " written by warp " + std::to_string(s.writer) + " with no barrier between", line, RAW);
    if (s.copies_in_flight)
      report_race(b, "shared read of byte " + std::to_string(at + i) + " while a cp.async into it is in flight",
                  line, UNWAITED);
    if (s.read_epoch == b.epoch && s.reader != w.id) s.reader = SEVERAL_READERS;
    else {
      s.read_epoch = b.epoch;
      s.reader = w.id;
    }
  }
}

static inline void race_on_write(ThreadBlock& b, const Warp& w, u64 at, u32 size, int line, bool record = true) {
  if (!b.checks.races) return;
  for (u32 i = 0; i < size; i += SHADOW_BYTES) {
    Shadow& s = b.shadow[(at + i) / SHADOW_BYTES];
    if (s.write_epoch == b.epoch && s.writer != w.id)
      report_race(b, "shared WAW race: warp " + std::to_string(w.id) + " writes byte " + std::to_string(at + i) +
                         " written by warp " + std::to_string(s.writer) + " with no barrier between", line, WAW);
    if (s.read_epoch == b.epoch && s.reader != w.id)
      report_race(b, "shared WAR race: warp " + std::to_string(w.id) + " writes byte " + std::to_string(at + i) +
                         " read by another warp with no barrier between", line, WAR);
    if (record) {
      s.write_epoch = b.epoch;
      s.writer = w.id;
    }
  }
}

// What accesses cost ------------------------------------------------------------------------------------------------

// Where the lanes of one instruction point.
struct Access {
  u64 at[32];
  u32 global = 0, shared = 0;
};

// 32-byte sectors that a request touches.
static u64 sectors_of(const u64* at, u32 lanes, u32 size) {
  u64 touched[64];
  int n = 0;
  for (int l = 0; l < 32; l++)
    if (lanes >> l & 1) {
      touched[n++] = at[l] / 32;
      if ((at[l] % 32) + size > 32) touched[n++] = (at[l] + size - 1) / 32;
    }
  std::sort(touched, touched + n);
  return std::unique(touched, touched + n) - touched;
}

// Most words of one bank among the lanes `first` to `last`: words that several lanes ask for count once.
static int words_of_a_bank(const u64* at, u32 lanes, u32 size, u32 first, u32 last) {
  u64 words[32 * 4];
  int n = 0;
  for (u32 l = first; l < last; l++)
    if (lanes >> l & 1)
      for (u32 i = 0; i < std::max(size, 4u) / 4; i++) words[n++] = at[l] / 4 + i;
  std::sort(words, words + n);
  int bank[32] = {}, most = 0;
  const u64* end = std::unique(words, words + n);
  for (const u64* word = words; word != end; word++) most = std::max(most, ++bank[*word & 31]);
  return most;
}

// Passes over the 32 banks of 4 bytes: accesses of 8 bytes go by half-warps, of 16 by quarters, unless one pass has all.
static u64 wavefronts_of(const u64* at, u32 lanes, u32 size) {
  if (words_of_a_bank(at, lanes, size, 0, 32) <= 1) return 1;
  u64 passes = 0;
  u32 step = size <= 4 ? 32 : size == 8 ? 16 : 8;
  for (u32 first = 0; first < 32; first += step) passes += words_of_a_bank(at, lanes, size, first, first + step);
  return passes;
}

static void count_load(Warp& w, const Access& a, u32 size) {
  ThreadBlock& b = *w.block;
  if (!b.checks.counters) return;
  if (a.global) {
    b.counters->load_requests++;
    b.counters->load_sectors += sectors_of(a.at, a.global, size);
    b.counters->global_bytes += size * count_lanes(a.global);
  }
  if (a.shared) {
    b.counters->shared_load_requests++;
    b.counters->shared_load_wavefronts += wavefronts_of(a.at, a.shared, size);
  }
}

static void count_store(Warp& w, const Access& a, u32 size) {
  ThreadBlock& b = *w.block;
  if (!b.checks.counters) return;
  if (a.global) {
    b.counters->store_requests++;
    b.counters->store_sectors += sectors_of(a.at, a.global, size);
    b.counters->global_bytes += size * count_lanes(a.global);
  }
  if (a.shared) {
    b.counters->shared_store_requests++;
    b.counters->shared_store_wavefronts += wavefronts_of(a.at, a.shared, size);
  }
}

// Accesses: checked, noted for the counters, and turned into host memory ----------------------------------------------

static inline u8* reach_global(Warp& w, Access& a, int lane, u64 at, u32 size, Use use, int line) {
  check_global(*w.block, at, size, name_of(use), line);
  a.at[lane] = at;
  a.global |= 1u << lane;
  return (u8*)at;
}

static inline u8* reach_shared(Warp& w, Access& a, int lane, u64 at, u32 size, Use use, int line) {
  ThreadBlock& b = *w.block;
  check_shared(b, at, size, name_of(use), line);
  if (use == Use::load) race_on_read(b, w, at, size, line);
  else race_on_write(b, w, at, size, line, use == Use::store);  // Atomics do not race with each other.
  a.at[lane] = at;
  a.shared |= 1u << lane;
  return &b.shared[at];
}

static inline u8* reach_generic(Warp& w, Access& a, int lane, u64 at, u32 size, Use use, int line) {
  return at >= SHARED_WINDOW ? reach_shared(w, a, lane, at - SHARED_WINDOW, size, use, line)
                             : reach_global(w, a, lane, at, size, use, line);
}

static inline u8* local_bytes(Warp& w, int lane, u64 at, u32 size, u32 all, int line) {
  u64 first = (u64)(w.local + lane * all);
  if (at < first || at + size > first + all) throw Fault("out-of-bounds local access" + at_line(line));
  return (u8*)at;
}

// cp.async ------------------------------------------------------------------------------------------------------------

static void start_copy(Warp& w, Access& from, Access& to, int lane, u64 target, u64 source, u32 size, u32 count,
                       int line) {
  ThreadBlock& b = *w.block;
  if (count > size) throw Fault("cp.async reads more bytes than it writes" + at_line(line));
  check_shared(b, target, size, "cp.async", line);
  Copy copy{(u32)target, (u8)size, {}, w.copy_group};
  if (count) {
    if (b.checks.bounds && source % size) throw Fault("misaligned global cp.async" + at_line(line));
    check_global(b, source, count == size ? size : 1, "cp.async", line);
    check_global(b, source + count - 1, 1, "cp.async", line);
    memcpy(copy.bytes, (const void*)source, count);
    from.at[lane] = source;
    from.global |= 1u << lane;
  }
  to.at[lane] = target;
  to.shared |= 1u << lane;
  if (b.checks.races) {
    race_on_write(b, w, target, size, line, false);
    for (u32 i = 0; i < size; i += SHADOW_BYTES)
      if (b.shadow[(target + i) / SHADOW_BYTES].copies_in_flight++)
        report_race(b, "two cp.async in flight into byte " + std::to_string(target + i), line, DOUBLE_COPY);
  }
  w.copies.push_back(copy);
}

static void count_copy(Warp& w, const Access& from, const Access& to, u32 size) {
  if (!w.block->checks.counters) return;
  Counters& c = *w.block->counters;
  if (from.global) {
    c.load_requests++;
    c.load_sectors += sectors_of(from.at, from.global, size);
    c.global_bytes += size * count_lanes(from.global);
    c.async_bytes += size * count_lanes(from.global);
  }
  if (to.shared) {
    c.shared_store_requests++;
    c.shared_store_wavefronts += wavefronts_of(to.at, to.shared, size);
  }
}

// Lands the copies of all but the last `keep` groups.
static void wait_copies(Warp& w, u32 keep, int line) {
  ThreadBlock& b = *w.block;
  size_t left = 0;
  for (Copy& copy : w.copies) {
    if (copy.group + keep >= w.copy_group) {
      w.copies[left++] = copy;
      continue;
    }
    if (b.checks.races)
      for (u32 i = 0; i < copy.size; i += SHADOW_BYTES) b.shadow[(copy.to + i) / SHADOW_BYTES].copies_in_flight--;
    race_on_write(b, w, copy.to, copy.size, line);
    memcpy(&b.shared[copy.to], copy.bytes, copy.size);
  }
  w.copies.resize(left);
}
