// Locks that a forked child does not find held: fork waits until no thread holds one.
#pragma once
#include <mutex>
#include <shared_mutex>

namespace sovs {

// Shared by whoever holds a ForkSafeLock; fork takes it alone.
std::shared_mutex& fork_gate();

// A lock of one mutex. Not taken twice by a thread: fork may come in between.
class ForkSafeLock {
public:
    explicit ForkSafeLock(std::mutex& mutex) : gate_(fork_gate()), lock_(mutex) {}

private:
    std::shared_lock<std::shared_mutex> gate_;
    std::lock_guard<std::mutex> lock_;
};

}  // namespace sovs
