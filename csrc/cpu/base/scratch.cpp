#include "base/scratch.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <vector>

#include "base/aligned.h"
#include "base/buffer_pool.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace sovs {
namespace {

#if defined(__SANITIZE_ADDRESS__)
// Nobody may touch what is in no slice, and slices do not touch each other.
constexpr std::size_t kGap = kCacheLine;
void open(const std::byte* memory, std::size_t bytes) { __asan_unpoison_memory_region(memory, bytes); }
void close(const std::byte* memory, std::size_t bytes) { __asan_poison_memory_region(memory, bytes); }
#else
constexpr std::size_t kGap = 0;
void open(const std::byte*, std::size_t) {}
void close(const std::byte*, std::size_t) {}
#endif

}  // namespace

class ScratchBlock {
public:
    // Zeros, of which the system makes memory where it is written to. What else might lie there could be denormal
    // numbers, which are slow to multiply even in lanes that nobody stores.
    ScratchBlock() : memory_(std::calloc(kScratchBytes + kCacheLine, 1)) {
        if (memory_ == nullptr) throw std::bad_alloc();
        begin_ = static_cast<std::byte*>(memory_);
        begin_ += (kCacheLine - reinterpret_cast<std::uintptr_t>(memory_) % kCacheLine) % kCacheLine;
        close(begin_, kScratchBytes);
    }
    ~ScratchBlock() {
        open(begin_, kScratchBytes);
        std::free(memory_);
    }
    ScratchBlock(const ScratchBlock&) = delete;
    ScratchBlock& operator=(const ScratchBlock&) = delete;

    std::size_t used() const { return used_; }
    std::size_t lent() const { return lent_.size(); }

    float* take(std::size_t bytes) {
        if (bytes > kScratchBytes - used_) {
            lent_.reserve(lent_.size() + 1);  // before a buffer that would be lost
            lent_.push_back(take_buffer(bytes));
            return static_cast<float*>(lent_.back());
        }
        std::byte* slice = begin_ + used_;
        open(slice, bytes);
        used_ = std::min(kScratchBytes, used_ + (bytes + kCacheLine - 1) / kCacheLine * kCacheLine + kGap);
        return reinterpret_cast<float*>(slice);
    }

    void give_back(std::size_t used, std::size_t lent) {
        close(begin_ + used, used_ - used);
        used_ = used;
        for (; lent_.size() > lent; lent_.pop_back()) give_buffer(lent_.back());
    }

private:
    void* memory_;
    std::byte* begin_;
    std::size_t used_ = 0;     // bytes from there
    std::vector<void*> lent_;  // by the buffer pool
};

namespace {

ScratchBlock& of_this_thread() {
    thread_local ScratchBlock block;
    return block;
}

}  // namespace

Scratch::Scratch() : block_(of_this_thread()), used_(block_.used()), lent_(block_.lent()) {}

Scratch::~Scratch() { block_.give_back(used_, lent_); }

float* Scratch::take(std::int64_t floats) { return block_.take(static_cast<std::size_t>(floats) * sizeof(float)); }

}  // namespace sovs
