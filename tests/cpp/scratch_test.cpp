// A thread's working memory: slices, leases inside leases, and what goes back when they end.
#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/aligned.h"
#include "base/buffer_pool.h"
#include "base/scratch.h"
#include "check.h"

namespace {

constexpr std::int64_t kBlock = sovs::kScratchBytes / sizeof(float);

bool on_a_cache_line(const float* slice) { return reinterpret_cast<std::uintptr_t>(slice) % sovs::kCacheLine == 0; }

bool all_are(const float* slice, std::int64_t floats, float value) {
    return std::all_of(slice, slice + floats, [&](float x) { return x == value; });
}

}  // namespace

TEST(slices_of_a_lease_begin_on_cache_lines_and_hold_what_each_was_given) {
    sovs::Scratch scratch;
    std::vector<float*> slices;
    for (const std::int64_t floats : {1, 15, 16, 17, 1000}) {
        slices.push_back(scratch.take(floats));
        std::fill_n(slices.back(), floats, static_cast<float>(floats));
    }
    CHECK(std::all_of(slices.begin(), slices.end(), on_a_cache_line));
    std::size_t i = 0;
    for (const std::int64_t floats : {1, 15, 16, 17, 1000})
        CHECK(all_are(slices[i++], floats, static_cast<float>(floats)));
}

TEST(the_next_lease_takes_the_memory_that_is_warm) {
    const auto take_some = [](std::int64_t floats) { return sovs::Scratch().take(floats); };
    float* const first = take_some(100);
    CHECK(take_some(5000) == first);
    CHECK(take_some(100) == first);
}

TEST(an_inner_lease_leaves_the_slices_of_the_outer_one_alone_and_gives_its_own_back) {
    sovs::Scratch outer;
    float* const before = outer.take(100);
    std::fill_n(before, 100, 1.0f);
    float* inner_slice = nullptr;
    {
        sovs::Scratch inner;
        inner_slice = inner.take(100);
        std::fill_n(inner_slice, 100, 2.0f);
    }
    float* const after = outer.take(100);
    CHECK(after == inner_slice);
    std::fill_n(after, 100, 3.0f);
    CHECK(all_are(before, 100, 1.0f));
}

TEST(slices_larger_than_the_block_come_from_the_buffer_pool_and_go_back_when_their_lease_ends) {
    sovs::give_buffer(sovs::take_buffer(2 * sovs::kScratchBytes));
    const std::size_t idle = sovs::idle_buffer_bytes();
    sovs::Scratch outer;
    float* const small = outer.take(100);
    std::fill_n(small, 100, 1.0f);
    for (int call = 0; call < 3; ++call) {
        sovs::Scratch inner;
        float* const large = inner.take(2 * kBlock);
        std::fill_n(large, 2 * kBlock, 2.0f);
        CHECK(on_a_cache_line(large));
        CHECK(sovs::idle_buffer_bytes() + 2 * sovs::kScratchBytes <= idle);
        float* const beside = inner.take(100);
        std::fill_n(beside, 100, 3.0f);
        CHECK(all_are(large, 2 * kBlock, 2.0f));
    }
    CHECK(sovs::idle_buffer_bytes() == idle);
    CHECK(all_are(small, 100, 1.0f));
}

TEST(a_lease_may_take_the_whole_block_and_then_more) {
    sovs::Scratch scratch;
    float* const whole = scratch.take(kBlock);
    std::fill_n(whole, kBlock, 1.0f);
    const std::size_t idle = sovs::idle_buffer_bytes();
    {
        sovs::Scratch more;
        std::fill_n(more.take(1), 1, 2.0f);
    }
    CHECK(sovs::idle_buffer_bytes() >= idle);
    CHECK(all_are(whole, kBlock, 1.0f));
}

TEST(threads_share_no_working_memory) {
    sovs::Scratch mine;
    float* const slice = mine.take(1000);
    std::fill_n(slice, 1000, 1.0f);
    float* other = nullptr;
    std::thread([&] {
        sovs::Scratch theirs;
        other = theirs.take(1000);
        std::fill_n(other, 1000, 2.0f);
    }).join();
    CHECK(other != slice);
    CHECK(all_are(slice, 1000, 1.0f));
}
