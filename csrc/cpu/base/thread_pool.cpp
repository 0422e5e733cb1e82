#include "base/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/spin.h"

namespace sovs {
namespace {

// Which share of the units a thread begins with: the same one in every region, so that it finds in its own cache what it
// wrote there before. Callers take the first share, helpers one of the others.
thread_local int home = 0;

// The threads of an OpenMP team keep their homes from region to region.
class OpenMPWork : public StageWork {
public:
    void join() {
        if (std::this_thread::get_id() != caller_ && home == 0) home = ++helpers_seen;
        run(home);
    }

private:
    static inline std::atomic<int> helpers_seen{0};
    const std::thread::id caller_ = std::this_thread::get_id();
};

struct Region : StageWork {
    std::atomic<int> seats{0};    // workers that may still join
    std::atomic<int> running{0};  // workers inside
};

class Pool {
public:
    ~Pool() = delete;  // never destroyed: workers live as long as the process

    bool try_run(const Stages& stages, int threads, const StageWork::Body& body) {
        std::unique_lock<std::mutex> owner(owner_, std::try_to_lock);
        if (!owner) return false;
        const int helpers = threads - 1;
        grow(helpers);
        Region& region = region_;
        region.start(body, stages, threads);
        region.seats.store(helpers, std::memory_order_release);  // last: a late worker may take a seat from here on
        {
            std::lock_guard<std::mutex> lock(mutex_);
            epoch_.fetch_add(1, std::memory_order_release);
        }
        if (parked_.load(std::memory_order_acquire) > 0) wake_.notify_all();
        region.run(home);
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
            if (seats > 0) region_.run(home);
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
    parallel_stages({{units}}, threads, [&](long, long unit, int) { body(unit); });
}

void parallel_stages(const Stages& stages, int threads, const std::function<void(long, long, int)>& body) {
    const std::vector<long>& units = stages.units;
    const long most = units.empty() ? 0 : *std::max_element(units.begin(), units.end());
    const int team = static_cast<int>(std::min<long>(threads, most));
    const OpenMPParallel openmp = g_openmp.load(std::memory_order_relaxed);
    if (team > 1 && openmp != nullptr) {
        OpenMPWork work;
        work.start(body, stages, team);
        openmp([](void* data) { static_cast<OpenMPWork*>(data)->join(); }, &work, static_cast<unsigned>(team), 0);
        work.rethrow();
        return;
    }
    if (team > 1 && pool().try_run(stages, team, body)) return;
    for (std::size_t stage = 0; stage < units.size(); ++stage)
        for (long unit = 0; unit < units[stage]; ++unit) body(static_cast<long>(stage), unit, 0);
}

}  // namespace sovs
