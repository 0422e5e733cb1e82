#include "base/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sovs {
namespace {

// Long enough to bridge the glue between two layers, short enough not to take a core from another runtime.
constexpr int kSpins = 2000;

inline void cpu_relax() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Which share of the units a thread begins with: the same one in every region, so that it finds in its own cache what it
// wrote there before. Callers take the first share, helpers one of the others.
thread_local int home = 0;

using Body = std::function<void(long, long, int)>;

// The units of each stage in as many contiguous shares as threads. A thread that is done with its own takes half of what
// another one has left; whoever ends a stage's last unit begins the next stage.
class Work {
public:
    void start(const Body& body, const std::vector<long>& units, int threads) {
        require(
            units.size() < kMostStages &&
                std::all_of(units.begin(), units.end(), [](long each) { return each < static_cast<long>(kMostUnits); }),
            "expected fewer stages and units");
        body_ = &body;
        units_ = &units;
        error_ = nullptr;
        failed_.store(false, std::memory_order_relaxed);
        if (static_cast<int>(shares_.size()) < threads) shares_ = std::vector<Share>(threads);
        count_ = threads;
        for (Share& share : shares_) share.owned.store(false, std::memory_order_relaxed);
        begin(0);
    }

    void run() {
        const int stages = static_cast<int>(units_->size()), member = claim();
        for (int stage = stage_.load(std::memory_order_acquire); stage < stages; stage = next_stage(stage))
            while (!failed_.load(std::memory_order_relaxed)) {
                if (!run_own(member) && !take_half(member)) break;
            }
    }

    void rethrow() {
        if (error_) std::rethrow_exception(error_);
    }

private:
    // A stage and a range of its units in one number, so that all change at once.
    struct Range {
        std::uint64_t stage, begin, end;
    };
    static constexpr int kUnitBits = 26;
    static constexpr std::uint64_t kMostUnits = (1u << kUnitBits) - 1, kMostStages = 1u << (64 - 2 * kUnitBits);
    static std::uint64_t packed(Range r) { return r.stage << 2 * kUnitBits | r.begin << kUnitBits | r.end; }
    static Range unpacked(std::uint64_t bits) {
        return {bits >> 2 * kUnitBits, bits >> kUnitBits & kMostUnits, bits & kMostUnits};
    }

    struct alignas(64) Share {
        std::atomic<std::uint64_t> left{0};
        std::atomic<bool> owned{false};
    };

    // A share for the thread alone: its home where that is free.
    int claim() {
        int share = home % count_;
        while (shares_[share].owned.exchange(true, std::memory_order_relaxed)) share = (share + 1) % count_;
        return share;
    }

    // Begins the first stage from this one on that has units.
    void begin(std::size_t stage) {
        while (stage < units_->size() && (*units_)[stage] == 0) ++stage;
        if (stage < units_->size()) {
            const auto units = static_cast<std::uint64_t>((*units_)[stage]), count = static_cast<std::uint64_t>(count_);
            left_.store(static_cast<long>(units), std::memory_order_relaxed);
            for (std::uint64_t i = 0; i < count; ++i)
                shares_[i].left.store(packed({stage, units * i / count, units * (i + 1) / count}),
                                      std::memory_order_release);
        }
        stage_.store(static_cast<int>(stage), std::memory_order_release);
        stage_.notify_all();
    }

    // The first unit of the thread's own share; false where it is empty.
    bool run_own(int member) {
        std::atomic<std::uint64_t>& left = shares_[member].left;
        std::uint64_t bits = left.load(std::memory_order_acquire);
        Range range;
        do {
            range = unpacked(bits);
            if (range.begin == range.end) return false;
        } while (!left.compare_exchange_weak(bits, packed({range.stage, range.begin + 1, range.end}),
                                             std::memory_order_acq_rel));
        try {
            (*body_)(static_cast<long>(range.stage), static_cast<long>(range.begin), member);
        } catch (...) {
            fail();
            return true;
        }
        if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) begin(range.stage + 1);
        return true;
    }

    // The later half of another share, for the thread's own, which is empty; false where all are. Both are of one stage,
    // which cannot end before these units have: nobody else writes to the thread's share meanwhile.
    bool take_half(int member) {
        const Range own = unpacked(shares_[member].left.load(std::memory_order_acquire));
        if (own.begin != own.end) return true;  // a stage has begun since
        for (int i = 1; i < count_; ++i) {
            std::atomic<std::uint64_t>& left = shares_[(member + i) % count_].left;
            std::uint64_t bits = left.load(std::memory_order_acquire);
            for (;;) {
                const Range range = unpacked(bits);
                if (range.begin == range.end || range.stage != own.stage) break;
                const std::uint64_t middle = range.begin + (range.end - range.begin) / 2;
                if (!left.compare_exchange_weak(bits, packed({range.stage, range.begin, middle}),
                                                std::memory_order_acq_rel))
                    continue;
                shares_[member].left.store(packed({range.stage, middle, range.end}), std::memory_order_release);
                return true;
            }
        }
        return false;
    }

    // The stage after this one, once there is one: at first in a loop, then asleep, which leaves the core to a thread that
    // the others wait for.
    int next_stage(int stage) {
        for (int spin = 0; spin < kSpins; ++spin) {
            const int now = stage_.load(std::memory_order_acquire);
            if (now != stage) return now;
            cpu_relax();
        }
        stage_.wait(stage, std::memory_order_acquire);
        return stage_.load(std::memory_order_acquire);
    }

    void fail() {
        {
            const std::lock_guard<std::mutex> lock(error_mutex_);
            if (!error_) error_ = std::current_exception();
        }
        failed_.store(true, std::memory_order_relaxed);
        stage_.store(static_cast<int>(units_->size()), std::memory_order_release);
        stage_.notify_all();
    }

    const Body* body_ = nullptr;
    const std::vector<long>* units_ = nullptr;
    std::vector<Share> shares_;
    int count_ = 0;
    std::atomic<int> stage_{0};  // as wide as what threads can sleep on
    std::atomic<long> left_{0};  // units of the stage that have not ended
    std::atomic<bool> failed_{false};
    std::mutex error_mutex_;
    std::exception_ptr error_;
};

// The threads of an OpenMP team keep their homes from region to region.
class OpenMPWork : public Work {
public:
    void join() {
        if (std::this_thread::get_id() != caller_ && home == 0) home = ++helpers_seen;
        run();
    }

private:
    static inline std::atomic<int> helpers_seen{0};
    const std::thread::id caller_ = std::this_thread::get_id();
};

struct Region : Work {
    std::atomic<int> seats{0};    // workers that may still join
    std::atomic<int> running{0};  // workers inside
};

class Pool {
public:
    ~Pool() = delete;  // never destroyed: workers live as long as the process

    bool try_run(const std::vector<long>& units, int threads, const Body& body) {
        std::unique_lock<std::mutex> owner(owner_, std::try_to_lock);
        if (!owner) return false;
        const int helpers = threads - 1;
        grow(helpers);
        Region& region = region_;
        region.start(body, units, threads);
        region.seats.store(helpers, std::memory_order_release);  // last: a late worker may take a seat from here on
        {
            std::lock_guard<std::mutex> lock(mutex_);
            epoch_.fetch_add(1, std::memory_order_release);
        }
        if (parked_.load(std::memory_order_acquire) > 0) wake_.notify_all();
        region.run();
        // Close the region: a worker that has not joined by now has nothing left to do. A seat taken is a
        // promise that `running` was raised first, so both reading zero means that nobody is inside.
        region.seats.exchange(0, std::memory_order_acq_rel);
        while (region.running.load(std::memory_order_acquire) != 0) cpu_relax();
        region.rethrow();
        return true;
    }

private:
    void grow(int helpers) {
        while (workers_ < helpers) {
            ++workers_;
            std::thread([this, id = workers_] {
                home = id;
                serve();
            }).detach();
        }
    }

    void serve() {
        unsigned long seen = 0;
        for (;;) {
            seen = wait_for_region(seen);
            region_.running.fetch_add(1, std::memory_order_acq_rel);
            int seats = region_.seats.load(std::memory_order_acquire);
            while (seats > 0 && !region_.seats.compare_exchange_weak(seats, seats - 1, std::memory_order_acq_rel)) {
            }
            if (seats > 0) region_.run();
            region_.running.fetch_sub(1, std::memory_order_acq_rel);
        }
    }

    unsigned long wait_for_region(unsigned long seen) {
        for (int spin = 0; spin < kSpins; ++spin) {
            const unsigned long now = epoch_.load(std::memory_order_acquire);
            if (now != seen) return now;
            cpu_relax();
        }
        std::unique_lock<std::mutex> lock(mutex_);
        parked_.fetch_add(1, std::memory_order_acq_rel);
        wake_.wait(lock, [&] { return epoch_.load(std::memory_order_acquire) != seen; });
        parked_.fetch_sub(1, std::memory_order_acq_rel);
        return epoch_.load(std::memory_order_acquire);
    }

    std::mutex owner_;  // held by the caller whose region runs
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<unsigned long> epoch_{0};
    std::atomic<int> parked_{0};
    int workers_ = 0;
    Region region_;
};

std::atomic<Pool*> g_pool{nullptr};
std::atomic<OpenMPParallel> g_openmp{nullptr};

// A forked child has none of the parent's workers, and its locks may be held for ever: it starts anew, with threads of
// its own, since an OpenMP runtime that the parent has used hangs in a child.
void forget_threads() {
    g_pool.store(nullptr);
    g_openmp.store(nullptr);
}

void forget_threads_in_children() {
    static const int registered = pthread_atfork(nullptr, nullptr, forget_threads);
    (void)registered;
}

Pool& pool() {
    Pool* current = g_pool.load(std::memory_order_acquire);
    if (current != nullptr) return *current;
    forget_threads_in_children();
    Pool* fresh = new Pool;
    if (g_pool.compare_exchange_strong(current, fresh, std::memory_order_acq_rel)) return *fresh;
    return *current;  // another thread won; the unused pool holds no threads
}

}  // namespace

void use_openmp(OpenMPParallel parallel) {
    forget_threads_in_children();
    g_openmp.store(parallel);
}

void parallel_for(long units, int threads, const std::function<void(long)>& body) {
    parallel_stages({units}, threads, [&](long, long unit, int) { body(unit); });
}

void parallel_stages(const std::vector<long>& units, int threads, const std::function<void(long, long, int)>& body) {
    const long most = units.empty() ? 0 : *std::max_element(units.begin(), units.end());
    const int team = static_cast<int>(std::min<long>(threads, most));
    const OpenMPParallel openmp = g_openmp.load(std::memory_order_relaxed);
    if (team > 1 && openmp != nullptr) {
        OpenMPWork work;
        work.start(body, units, team);
        openmp([](void* data) { static_cast<OpenMPWork*>(data)->join(); }, &work, static_cast<unsigned>(team), 0);
        work.rethrow();
        return;
    }
    if (team > 1 && pool().try_run(units, team, body)) return;
    for (std::size_t stage = 0; stage < units.size(); ++stage)
        for (long unit = 0; unit < units[stage]; ++unit) body(static_cast<long>(stage), unit, 0);
}

}  // namespace sovs
