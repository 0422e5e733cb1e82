// A thread's working memory: one block that all steps share, taken in slices for as long as a call lasts.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sovs {

class ScratchBlock;

// A lease of the calling thread's block. Leases nest: the last to begin ends first.
class Scratch {
public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    // A slice that begins on a cache line, the caller's until the lease ends. It holds what earlier calls left there,
    // NaN perhaps: of what a kernel reads past what the caller wrote nothing may be stored. Throws std::bad_alloc.
    float* take(std::int64_t floats);

private:
    ScratchBlock& block_;
    const std::size_t used_, lent_;  // of the block when the lease began
};

// The size of a thread's block, which it keeps for its next call: twice what the layers of the largest usual encoders
// take. Slices that do not fit are lent by the buffer pool, and go back when their lease ends.
inline constexpr std::size_t kScratchBytes = std::size_t{4} << 20;

}  // namespace sovs
