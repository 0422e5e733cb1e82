#include "base/stage_work.h"

#include <algorithm>

#include "base/error.h"
#include "base/spin.h"

namespace sovs {
namespace {

constexpr std::size_t kSharesALine = 8;

// Vectors of atomic numbers cannot grow.
template <typename T>
void at_least(std::vector<std::atomic<T>>& numbers, std::size_t count) {
    if (numbers.size() < count) numbers = std::vector<std::atomic<T>>(count);
}

}  // namespace

void StageWork::start(const Body& body, const Stages& stages, int threads) {
    require(
        std::all_of(stages.units.begin(), stages.units.end(), [](long each) { return each >= 0 && each >> 32 == 0; }),
        "expected fewer units");
    body_ = &body;
    stages_ = &stages;
    count_ = static_cast<int>(stages.units.size());
    threads_ = threads;
    row_ = (stages.units.size() + kSharesALine - 1) / kSharesALine * kSharesALine;
    at_least(shares_, row_ * static_cast<std::size_t>(threads));
    at_least(owned_, static_cast<std::size_t>(threads));
    at_least(left_, stages.units.size());
    first_unit_.assign(1, 0);
    for (const long units : stages.units) first_unit_.push_back(first_unit_.back() + static_cast<std::size_t>(units));
    at_least(unit_ended_, first_unit_.back());
    for (int member = 0; member < threads; ++member) owned_[member].store(false, std::memory_order_relaxed);
    for (std::size_t unit = 0; unit < first_unit_.back(); ++unit)
        unit_ended_[unit].store(false, std::memory_order_relaxed);
    for (int stage = 0; stage < count_; ++stage) {
        left_[stage].store(stages.units[stage], std::memory_order_relaxed);
        const auto units = static_cast<std::uint64_t>(stages.units[stage]), of = static_cast<std::uint64_t>(threads);
        for (std::uint64_t member = 0; member < of; ++member)
            share(stage, static_cast<int>(member))
                .store(packed({units * member / of, units * (member + 1) / of}), std::memory_order_relaxed);
    }
    error_ = nullptr;
    failed_.store(false, std::memory_order_relaxed);
    ended_.store(0);
    pass_ended_stages();
}

void StageWork::run(int home) {
    const int member = claim(home);
    for (;;) {
        const std::uint32_t seen = progress_.load(std::memory_order_acquire);
        if (failed_.load(std::memory_order_relaxed) || ended_.load(std::memory_order_acquire) == count_) return;
        if (!run_one(member)) wait(seen);
    }
}

void StageWork::rethrow() {
    if (error_) std::rethrow_exception(error_);
}

std::atomic<std::uint64_t>& StageWork::share(int stage, int member) {
    return shares_[static_cast<std::size_t>(member) * row_ + static_cast<std::size_t>(stage)];
}

int StageWork::claim(int home) {
    int member = home % threads_;
    while (owned_[member].exchange(true, std::memory_order_relaxed)) member = (member + 1) % threads_;
    return member;
}

// Of an open stage.
bool StageWork::may_run(int stage, std::uint64_t unit) const {
    const int ended = ended_.load(std::memory_order_acquire);
    if (stage <= ended) return true;
    for (const UnitRange& need : stages_->needs[stage][unit]) {
        if (need.stage < ended) continue;
        const std::size_t first = first_unit_[need.stage];
        for (long other = need.begin; other < need.end; ++other)
            if (!unit_ended_[first + static_cast<std::size_t>(other)].load(std::memory_order_acquire)) return false;
    }
    return true;
}

// A unit of the first open stage that has one for this thread; false where none has.
bool StageWork::run_one(int member) {
    const int first = ended_.load(std::memory_order_acquire), last = std::min(first + stages_->open, count_);
    for (int stage = first; stage < last; ++stage) {
        if (run_from(member, stage, member) || (take_half(stage, member) && run_from(member, stage, member)))
            return true;
        // What is left of its own has to wait: single units of the others' meanwhile.
        for (int i = 1; i < threads_; ++i)
            if (run_from((member + i) % threads_, stage, member)) return true;
    }
    return false;
}

// The first unit of a share, or the last one where the first has to wait; false where neither may run.
bool StageWork::run_from(int owner, int stage, int member) {
    std::atomic<std::uint64_t>& left = share(stage, owner);
    std::uint64_t bits = left.load(std::memory_order_acquire), unit;
    Range rest;
    do {
        rest = unpacked(bits);
        if (rest.begin == rest.end) return false;
        if (may_run(stage, rest.begin))
            unit = rest.begin++;
        else if (may_run(stage, rest.end - 1))
            unit = --rest.end;
        else
            return false;
    } while (!left.compare_exchange_weak(bits, packed(rest), std::memory_order_acq_rel));
    try {
        (*body_)(stage, static_cast<long>(unit), member);
    } catch (...) {
        fail();
        return true;
    }
    finish(stage, unit);
    return true;
}

// The later half of another share, for the thread's own where that is empty. Nobody else writes to an empty share.
bool StageWork::take_half(int stage, int member) {
    std::atomic<std::uint64_t>& own = share(stage, member);
    const Range mine = unpacked(own.load(std::memory_order_acquire));
    if (mine.begin != mine.end) return false;
    for (int i = 1; i < threads_; ++i) {
        std::atomic<std::uint64_t>& left = share(stage, (member + i) % threads_);
        std::uint64_t bits = left.load(std::memory_order_acquire);
        for (;;) {
            const Range range = unpacked(bits);
            if (range.begin == range.end) break;
            const std::uint64_t middle = range.begin + (range.end - range.begin) / 2;
            if (!left.compare_exchange_weak(bits, packed({range.begin, middle}), std::memory_order_acq_rel)) continue;
            own.store(packed({middle, range.end}), std::memory_order_release);
            return true;
        }
    }
    return false;
}

void StageWork::finish(int stage, std::uint64_t unit) {
    unit_ended_[first_unit_[stage] + unit].store(true, std::memory_order_release);
    if (left_[stage].fetch_sub(1) == 1) pass_ended_stages();
    progress_.fetch_add(1, std::memory_order_acq_rel);
    progress_.notify_all();
}

// Whoever ends a stage passes it, and those behind it that ended before: none is left over, since numbers of units and of
// stages are read and written in one order.
void StageWork::pass_ended_stages() {
    int ended = ended_.load();
    while (ended < count_ && left_[ended].load() == 0)
        if (ended_.compare_exchange_weak(ended, ended + 1)) ++ended;
}

// At first in a loop, then asleep, which leaves the core to a thread that the others wait for.
void StageWork::wait(std::uint32_t seen) {
    for (int spin = 0; spin < kSpins; ++spin) {
        if (progress_.load(std::memory_order_acquire) != seen) return;
        cpu_relax();
    }
    progress_.wait(seen, std::memory_order_acquire);
}

void StageWork::fail() {
    {
        const std::lock_guard<std::mutex> lock(error_mutex_);
        if (!error_) error_ = std::current_exception();
    }
    failed_.store(true, std::memory_order_relaxed);
    progress_.fetch_add(1, std::memory_order_acq_rel);
    progress_.notify_all();
}

}  // namespace sovs
