// Stages of units on threads: each unit once and after what it waits for, whoever comes late or fails.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/thread_pool.h"
#include "check.h"

TEST(every_unit_runs_once_and_after_all_units_of_the_stage_before) {
    for (const int threads : {1, 2, 3, 8})
        for (int round = 0; round < 500; ++round) {
            const std::vector<long> units{7, 0, 1, 130, 3, 0, 64};
            std::vector<std::atomic<int>> runs(300);
            std::vector<std::atomic<long>> ended(units.size());
            std::atomic<bool> in_order{true}, members_fit{true};
            sovs::parallel_stages({units}, threads, [&](long stage, long unit, int member) {
                if (stage > 0 && ended[stage - 1] != units[stage - 1]) in_order = false;
                if (member < 0 || member >= threads) members_fit = false;
                if (stage == 3) ++runs[unit];
                ++ended[stage];
            });
            CHECK(in_order && members_fit);
            for (std::size_t s = 0; s < units.size(); ++s) CHECK(ended[s] == units[s]);
            for (int i = 0; i < 130; ++i) CHECK(runs[i] == 1);
        }
}

TEST(a_member_is_one_thread_s_alone) {
    std::vector<std::atomic<int>> inside(4);
    std::atomic<bool> alone{true};
    sovs::parallel_stages({{200, 200}}, 4, [&](long, long, int member) {
        if (inside[member].fetch_add(1) != 0) alone = false;
        std::this_thread::sleep_for(std::chrono::microseconds(20));
        inside[member].fetch_sub(1);
    });
    CHECK(alone);
}

TEST(nobody_waits_for_a_thread_that_is_held_up_between_units) {
    // A unit waits until all others have run, those of its own share too.
    std::atomic<int> done{0}, before{0};
    sovs::parallel_stages({{100}}, 2, [&](long, long unit, int) {
        if (unit == 50)
            for (int i = 0; i < 5000 && done < 99; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (unit == 50) before = done.load();
        ++done;
    });
    CHECK(done == 100);
    CHECK(before == 99);
}

TEST(the_first_exception_of_any_stage_reaches_the_caller) {
    for (const int threads : {1, 3})
        for (const long failing : {0L, 1L, 2L}) {
            std::atomic<int> later{0};
            bool caught = false;
            try {
                sovs::parallel_stages({{20, 20, 20}}, threads, [&](long stage, long unit, int) {
                    if (stage == failing && unit == 13) throw std::runtime_error("unit 13");
                    if (stage > failing) ++later;
                });
            } catch (const std::runtime_error& error) {
                caught = std::string(error.what()) == "unit 13";
            }
            CHECK(caught);
            CHECK(later == 0);
        }
}

TEST(stages_without_units_are_nothing_to_do) {
    int runs = 0;
    sovs::parallel_stages({{}}, 4, [&](long, long, int) { ++runs; });
    sovs::parallel_stages({{0, 0}}, 4, [&](long, long, int) { ++runs; });
    sovs::parallel_for(0, 4, [&](long) { ++runs; });
    CHECK(runs == 0);
}

namespace {

// Stages of 16 units in which a unit waits for its neighbours in the stage before.
sovs::Stages chained(int stages, int open) {
    sovs::Stages made;
    made.open = open;
    for (int stage = 0; stage < stages; ++stage) {
        made.units.push_back(16);
        std::vector<std::vector<sovs::UnitRange>>& needs = made.needs.emplace_back(16);
        for (long unit = 0; stage > 0 && unit < 16; ++unit)
            needs[unit] = {{stage - 1, std::max(0L, unit - 1), std::min(16L, unit + 2)}};
    }
    return made;
}

}  // namespace

TEST(a_unit_of_an_open_stage_runs_once_and_after_what_it_needs) {
    for (const int threads : {1, 2, 3, 8})
        for (const int open : {1, 2, 5})
            for (int round = 0; round < 100; ++round) {
                const sovs::Stages stages = chained(9, open);
                std::vector<std::atomic<int>> ended(9 * 16);
                std::vector<std::atomic<long>> of_stage(9);
                std::atomic<bool> in_order{true};
                sovs::parallel_stages(stages, threads, [&](long stage, long unit, int) {
                    if (stage >= open && of_stage[stage - open] != 16) in_order = false;
                    for (const sovs::UnitRange& need : stages.needs[stage][unit])
                        for (long other = need.begin; other < need.end; ++other)
                            if (ended[need.stage * 16 + other] != 1) in_order = false;
                    ++ended[stage * 16 + unit];
                    ++of_stage[stage];
                });
                CHECK(in_order);
                for (const std::atomic<int>& times : ended) CHECK(times == 1);
            }
}

TEST(what_does_not_need_a_unit_that_is_held_up_goes_on_in_the_open_stages) {
    // Unit 0 waits until all have run that need not wait for it: of stage s those behind unit s.
    const sovs::Stages stages = chained(4, 4);
    std::atomic<int> done{0}, before{0};
    sovs::parallel_stages(stages, 2, [&](long stage, long unit, int) {
        const bool held_up = stage == 0 && unit == 0;
        if (held_up)
            for (int i = 0; i < 5000 && done < 15 + 14 + 13 + 12; ++i)
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (held_up) before = done.load();
        ++done;
    });
    CHECK(done == 64);
    CHECK(before == 15 + 14 + 13 + 12);
}

TEST(a_thread_whose_own_units_have_to_wait_runs_those_of_others) {
    // A thread runs all of the first stage alone and is held up in its last unit, which lies in the other's share.
    const sovs::Stages stages = chained(4, 4);
    std::atomic<int> done{0}, before{0};
    std::atomic<bool> holds{false};
    const sovs::StageWork::Body body = [&](long stage, long unit, int) {
        if (stage == 0 && unit == 0) {
            holds = true;
            for (int i = 0; i < 5000 && done < 15 + 14 + 13 + 12; ++i)
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            before = done.load();
        }
        ++done;
    };
    sovs::StageWork work;
    work.start(body, stages, 2);
    std::thread first([&] { work.run(1); });
    while (!holds) std::this_thread::yield();
    work.run(0);
    first.join();
    work.rethrow();
    CHECK(done == 64);
    CHECK(before == 15 + 14 + 13 + 12);
}
