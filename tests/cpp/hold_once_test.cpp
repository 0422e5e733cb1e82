// Weights that are held once: what was dropped comes back to the bit, and plans of several sizes share one stream.
#include <algorithm>
#include <string>
#include <thread>

#include "problem.h"

namespace {

std::vector<float> unpacked(const Problem& p, const sovs_weights* weights) {
    std::vector<float> dense(static_cast<std::size_t>(p.out_channels * p.columns()), -77.0f);
    CHECK(sovs_weights_unpack(weights, dense.data()) == SOVS_OK);
    return dense;
}

std::vector<float> run_with(const Problem& p, const Data& data, const sovs_weights* weights) {
    sovs_plan* plan = plan_of(p, weights);
    const std::vector<float> y = run(p, data, plan);
    sovs_plan_destroy(plan);
    return y;
}

// Empty, full and ordinary rows, the last block cut where there are no groups.
Problem problem(std::int64_t block_rows, std::int64_t kernel, std::int64_t groups) {
    Problem p;
    p.block_rows = block_rows;
    p.kernel_h = p.kernel_w = kernel;
    p.pad_h = p.pad_w = kernel / 2;
    p.groups = groups;
    p.in_channels = 18 * groups;
    p.out_channels = groups == 1 ? 30 : 16 * groups;
    p.h = 9;
    p.w = 21;
    return p;
}

template <typename Body>
void for_each_problem(Body&& body) {
    for (const std::int64_t block_rows : {1, 4})
        for (const std::int64_t kernel : {1, 3})
            for (const std::int64_t groups : {1, 3}) body(problem(block_rows, kernel, groups));
}

std::size_t bias_bytes(const Problem& p) { return static_cast<std::size_t>((p.out_channels + 31) / 32 * 32 * 4); }

// A plan of the weights for a map of this size.
struct Sized {
    Problem p;
    sovs_plan* plan;
    Sized(Problem base, std::int64_t h, std::int64_t w, const sovs_weights* weights) : p(base) {
        p.h = h;
        p.w = w;
        plan = plan_of(p, weights);
    }
    ~Sized() { sovs_plan_destroy(plan); }
    Sized(const Sized&) = delete;
};

}  // namespace

TEST(weights_held_once_give_the_same_bits_whatever_stream_they_are_held_in) {
    for_each_problem([](Problem p) {
        const Data data(p);
        sovs_weights* kept = data.weights(p);
        const std::vector<float> dense = unpacked(p, kept), expected = run_with(p, data, kept);
        sovs_weights_destroy(kept);
        for (const std::int64_t panel : {0, 1, 2, 3})
            for (const std::int64_t k_tile : {1, 5, 18})
                for (const std::int64_t parts : {1, 3})
                    for (const bool before : {false, true}) {
                        sovs_weights* weights = data.weights(p);
                        if (before) CHECK(sovs_weights_hold_once(weights) == SOVS_OK);
                        p.tuning = {sizeof(sovs_tuning), 2, 7, k_tile, parts, panel};
                        sovs_plan* plan = plan_of(p, weights);
                        if (!before) CHECK(sovs_weights_hold_once(weights) == SOVS_OK);
                        CHECK(sovs_weights_packed_bytes(weights) == bias_bytes(p));
                        CHECK(run(p, data, plan) == expected);
                        sovs_plan_destroy(plan);
                        CHECK(unpacked(p, weights) == dense);
                        p.tuning = {sizeof(sovs_tuning), 1, 16, 3, 2, 1};
                        CHECK(run_with(p, data, weights) == expected);
                        p.tuning = kLibraryChooses;
                        CHECK(run_with(p, data, weights) == expected);
                        sovs_weights_destroy(weights);
                    }
    });
}

TEST(dense_weights_held_once_whose_rows_share_their_offsets_give_the_same_bits) {
    for (const std::int64_t groups : {1, 2}) {
        Problem p = problem(4, 3, groups);
        p.out_channels = 8 * groups;
        const Data data(p);
        const auto create = [&] {
            std::vector<float> weight(static_cast<std::size_t>(p.out_channels * p.columns()));
            for (std::size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<float>(i % 101) - 50.0f;
            return dense_weights(p, weight, nullptr);
        };
        sovs_weights *kept = create(), *once = create();
        p.tuning = {sizeof(sovs_tuning), 2, 7, 5, 1, 2};
        const std::vector<float> expected = run_with(p, data, kept);
        sovs_weights_hold_once(once);
        CHECK(run_with(p, data, once) == expected);
        CHECK(sovs_weights_packed_bytes(once) == bias_bytes(p));
        CHECK(unpacked(p, once) == unpacked(p, kept));
        p.tuning = kLibraryChooses;
        CHECK(run_with(p, data, once) == expected);
        sovs_weights_destroy(kept);
        sovs_weights_destroy(once);
    }
}

TEST(weights_without_a_stream_keep_their_compact_copy) {
    const Problem p = problem(1, 3, 1);
    const Data data(p);
    sovs_weights* weights = data.weights(p);
    const std::size_t bytes = sovs_weights_packed_bytes(weights);
    const std::vector<float> dense = unpacked(p, weights);
    CHECK(sovs_weights_hold_once(weights) == SOVS_OK && sovs_weights_hold_once(weights) == SOVS_OK);
    CHECK(sovs_weights_packed_bytes(weights) == bytes && unpacked(p, weights) == dense);
    sovs_weights_destroy(weights);
    CHECK(sovs_weights_hold_once(nullptr) == SOVS_INVALID_ARGUMENT);
}

TEST(plans_of_several_sizes_and_threads_share_the_stream_of_weights_held_once) {
    for (const std::int64_t block_rows : {1, 4})
        for (const std::int64_t kernel : {1, 3}) {
            Problem p = problem(block_rows, kernel, 1);
            p.in_channels = p.out_channels = 64;
            const Data data(p);
            sovs_weights* weights = data.weights(p);
            sovs_weights_hold_once(weights);
            p.threads = 2;
            // Maps of more than 256 pixels: smaller ones of whole vectors would be multiplied where the caller put them.
            const Sized first(p, 15, 23, weights);
            const std::size_t bytes = sovs_weights_bytes(weights);
            for (const int threads : {1, 2}) {
                p.threads = threads;
                const Sized second(p, 31, 33, weights), third(p, 57, 11, weights), fourth(p, 19, 19, weights);
                CHECK(sovs_weights_bytes(weights) == bytes);
            }
            sovs_weights_destroy(weights);
        }
}

TEST(a_size_that_shares_a_stream_computes_what_it_would_alone) {
    for_each_problem([](Problem p) {
        const Data weights_of(p);
        for (const bool once : {false, true})
            for (const std::int64_t first : {1, 7, 12, 20})
                for (const std::int64_t second : {1, 4, 9, 16, 31})
                    for (const int threads : {1, 2, 3}) {
                        sovs_weights* weights = weights_of.weights(p);
                        sovs_weights* alone = weights_of.weights(p);
                        if (once) sovs_weights_hold_once(weights);
                        Problem q = p;
                        p.threads = 2;
                        if (first > 7) p.tuning = {sizeof(sovs_tuning), 0, 500, 0, 0, 1};  // as wide as it gets
                        const Sized other(p, first, 9, weights);
                        p.tuning = kLibraryChooses;
                        q.threads = threads;
                        q.h = second;  // 16 rows are multiplied in place where the kernel is 1x1
                        q.w = 9;
                        const Data data(q);
                        CHECK(run_with(q, data, weights) == run_with(q, data, alone));
                        sovs_weights_destroy(weights);
                        sovs_weights_destroy(alone);
                    }
    });
}

TEST(weights_held_once_are_planned_by_many_threads_at_once) {
    const Problem p = problem(4, 3, 1);
    const Data data(p);
    const std::vector<float> expected = run(p, data);
    sovs_weights* weights = data.weights(p);
    const std::vector<float> dense = unpacked(p, weights);
    std::vector<int> wrong(6, 0);
    std::vector<std::thread> callers;
    for (int t = 0; t < 6; ++t)
        callers.emplace_back([&, t] {
            for (int i = 0; i < 20; ++i) {
                Problem mine = p;
                mine.tuning = {sizeof(sovs_tuning), 1 + i % 2, 5 + t, 1 + (i + t) % 9, 1, 1 + t % 3};
                if (i == t) sovs_weights_hold_once(weights);
                if (run_with(mine, data, weights) != expected || unpacked(p, weights) != dense) ++wrong[t];
            }
        });
    for (std::thread& caller : callers) caller.join();
    CHECK(std::count(wrong.begin(), wrong.end(), 0) == 6);
    sovs_weights_destroy(weights);
}
