// The launch of a whole grid, one thread block after the other; a seed shuffles blocks and warps.
#pragma once

// Runs a warp up to its next barrier or its end.
static Outcome run_warp(Registers& w, u64& fuel) {
  for (;;) {
    if (!w.live) return Outcome::done;
    u32 first = ~0u, m = 0;
    for (int l = 0; l < 32; l++)
      if (w.live >> l & 1) first = std::min(first, w.pc[l]);
    for (int l = 0; l < 32; l++)
      if ((w.live >> l & 1) && w.pc[l] == first) m |= 1u << l;
    if (first >= BLOCKS) return Outcome::done;
    if (!fuel--) throw Fault("out of fuel: an endless loop, or a lock that nobody opens");
    Outcome outcome = m == ~0u ? WHOLE[first](w, m) : PARTIAL[first](w, m);
    if (outcome == Outcome::barrier) return outcome;
  }
}

static void run_block(ThreadBlock& b, std::vector<Registers>& warps, u32 threads, u8* local, bool shuffled,
                      std::mt19937& random) {
  std::vector<Outcome> state(warps.size(), Outcome::barrier);
  std::vector<u32> order(warps.size());
  for (u32 i = 0; i < warps.size(); i++) {
    Registers& w = warps[i];
    u32 lanes = std::min(32u, threads - i * 32);
    order[i] = i;
    memset(w.pc, 0, sizeof w.pc);
    w.id = i;
    w.block = &b;
    w.live = lanes == 32 ? ~0u : (1u << lanes) - 1;
    w.copies.clear();
    w.products.clear();
    w.copy_group = w.product_group = 0;
    w.local = local + (size_t)i * 32 * LOCAL_BYTES;
  }
  u64 fuel = 5000000;  // blocks of instructions; a long kernel needs some hundred thousand
  for (bool waiting = true; waiting; b.epoch++) {
    waiting = false;
    if (shuffled) std::shuffle(order.begin(), order.end(), random);
    for (u32 i : order)
      if (state[i] != Outcome::done) {
        state[i] = run_warp(warps[i], fuel);
        waiting |= state[i] == Outcome::barrier;
      }
  }
  for (Warp& w : warps) {
    if (!w.copies.empty() && b.reported->insert(1).second)
      b.findings->push_back("cp.async still in flight when the kernel ends");
    if (!w.products.empty() && b.reported->insert(2).second)
      b.findings->push_back("wgmma still in flight when the kernel ends");
  }
}

// 0, or 1 after a fault; `text` has one finding a line.
extern "C" int launch(const u32* grid, const u32* threads, const u8* params, u64 dynamic_shared, const u64* ranges,
                      int range_count, u32 checks, u32 seed, u64* counters, char* text, int text_bytes) {
  Counters counted;
  std::vector<std::pair<u64, u64>> sorted = CONSTANTS;
  for (int i = 0; i < range_count; i++) sorted.push_back({ranges[2 * i], ranges[2 * i + 1]});
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::string> findings;
  std::set<u64> reported;
  std::mt19937 random(seed);
  int fault = 0;
  try {
    u32 all = threads[0] * threads[1] * threads[2], warp_count = (all + 31) / 32;
    std::vector<Registers> warps(warp_count);
    std::vector<u8> local((size_t)warp_count * 32 * LOCAL_BYTES);
    std::vector<u32> order(grid[0] * grid[1] * grid[2]);
    for (u32 i = 0; i < order.size(); i++) order[i] = i;
    if (seed) std::shuffle(order.begin(), order.end(), random);
    for (u32 id : order) {
      ThreadBlock b;
      b.index[0] = id % grid[0];
      b.index[1] = id / grid[0] % grid[1];
      b.index[2] = id / (grid[0] * grid[1]);
      for (int i = 0; i < 3; i++) {
        b.grid[i] = grid[i];
        b.threads[i] = threads[i];
      }
      b.shared.assign(STATIC_SHARED + dynamic_shared, 0xff);  // NaN in every float: nothing is there before a write.
      b.checks = {bool(checks & 1), bool(checks & 2), bool(checks & 4)};
      if (b.checks.races) b.shadow.resize(b.shared.size() / SHADOW_BYTES + 16);
      b.counters = &counted;
      b.params = params;
      b.ranges = &sorted;
      b.findings = &findings;
      b.reported = &reported;
      run_block(b, warps, all, local.data(), seed != 0, random);
    }
  } catch (const std::exception& error) {
    findings.insert(findings.begin(), error.what());
    fault = 1;
  }
  std::string joined;
  for (const std::string& finding : findings) joined += finding + "\n";
  snprintf(text, text_bytes, "%s", joined.c_str());
  memcpy(counters, &counted, sizeof counted);
  return fault;
}
