#include "base/buffer_pool.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "base/error.h"

namespace sovs {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

struct Buffer {
    void* memory;
    std::size_t bytes;
};

struct BufferPool {
    std::mutex mutex;
    std::map<void*, std::size_t> taken;
    std::vector<Buffer> idle;  // the last one given back is last, and warmest
    std::size_t idle_bytes = 0;
};

BufferPool& pool() {
    static BufferPool* const made = [] {
        // A child forked while another thread is inside would find the lock held for ever.
        pthread_atfork([] { pool().mutex.lock(); }, [] { pool().mutex.unlock(); }, [] { pool().mutex.unlock(); });
        return new BufferPool;  // never destroyed: tensors may outlive every static
    }();
    return *made;
}

// The position of the smallest idle buffer that fits without wasting as much again; the warmest among equals.
std::size_t best_fit(const std::vector<Buffer>& idle, std::size_t bytes) {
    std::size_t best = idle.size();
    for (std::size_t i = idle.size(); i-- > 0;)
        if (idle[i].bytes >= bytes && idle[i].bytes <= 2 * bytes &&
            (best == idle.size() || idle[i].bytes < idle[best].bytes))
            best = i;
    return best;
}

}  // namespace

void* take_buffer(std::size_t bytes) {
    bytes = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    BufferPool& p = pool();
    std::lock_guard<std::mutex> lock(p.mutex);
    Buffer buffer{nullptr, bytes};
    const std::size_t found = best_fit(p.idle, bytes);
    if (found < p.idle.size()) {
        buffer = p.idle[found];
        p.idle.erase(p.idle.begin() + static_cast<std::ptrdiff_t>(found));
        p.idle_bytes -= buffer.bytes;
    } else {
        buffer.memory = std::aligned_alloc(kHugePage, bytes);
        if (buffer.memory == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
        madvise(buffer.memory, bytes, MADV_HUGEPAGE);  // a wish: the system may have none to give
#endif
    }
    p.taken.emplace(buffer.memory, buffer.bytes);
    return buffer.memory;
}

void give_buffer(void* memory) {
    BufferPool& p = pool();
    std::lock_guard<std::mutex> lock(p.mutex);
    const auto known = p.taken.find(memory);
    require(known != p.taken.end(), "expected a buffer that was taken and not given back");
    p.idle.push_back({memory, known->second});
    p.idle_bytes += known->second;
    p.taken.erase(known);
    while (p.idle_bytes > kIdleBytes) {
        p.idle_bytes -= p.idle.front().bytes;
        std::free(p.idle.front().memory);
        p.idle.erase(p.idle.begin());
    }
}

std::size_t idle_buffer_bytes() {
    BufferPool& p = pool();
    std::lock_guard<std::mutex> lock(p.mutex);
    return p.idle_bytes;
}

}  // namespace sovs
