// Hands the units of a row of stages out to threads as they come free.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace sovs {

// Units [begin, end) of a stage.
struct UnitRange {
    int stage;
    long begin, end;
};

struct Stages {
    std::vector<long> units;  // of each stage
    // So many stages in a row may have units running: one begins where no stage before these has units left. With 1, each
    // stage waits for all of the stage before it.
    int open = 1;
    // needs[stage][unit]: the units of open stages before it that a unit waits for. Not read where open is 1.
    std::vector<std::vector<std::vector<UnitRange>>> needs = {};
};

// Each stage's units lie in as many contiguous shares as there are threads, the same ones in every stage, so that a thread
// finds in its own cache what it wrote there before. One that is done with its own takes half of what another one has left,
// and goes on to the next open stage where none of this one is left that may run.
class StageWork {
public:
    using Body = std::function<void(long stage, long unit, int member)>;

    // Before anybody runs; `body` and `stages` outlive the work.
    void start(const Body& body, const Stages& stages, int threads);
    // Takes part until nothing is left to do. home: the share to begin with, where nobody has it.
    void run(int home);
    // After all have run: the first exception of a unit.
    void rethrow();

private:
    // A share's units that nobody has taken, in one number, so that both ends change at once.
    struct Range {
        std::uint64_t begin, end;
    };
    static std::uint64_t packed(Range r) { return r.begin << 32 | r.end; }
    static Range unpacked(std::uint64_t bits) { return {bits >> 32, bits & 0xFFFFFFFF}; }

    std::atomic<std::uint64_t>& share(int stage, int member);
    int claim(int home);
    bool may_run(int stage, std::uint64_t unit) const;
    bool run_one(int member);
    bool run_from(int owner, int stage, int member);
    bool take_half(int stage, int member);
    void finish(int stage, std::uint64_t unit);
    void pass_ended_stages();
    void wait(std::uint32_t seen);
    void fail();

    const Body* body_ = nullptr;
    const Stages* stages_ = nullptr;
    int count_ = 0;  // of stages
    int threads_ = 0;
    std::size_t row_ = 0;  // shares of a member, in whole cache lines
    std::vector<std::atomic<std::uint64_t>> shares_;
    std::vector<std::atomic<bool>> owned_;       // by member
    std::vector<std::atomic<long>> left_;        // units of a stage that have not ended
    std::vector<std::atomic<bool>> unit_ended_;  // through all stages
    std::vector<std::size_t> first_unit_;        // of a stage, in those
    std::atomic<int> ended_{0};                  // stages from the first one on that have ended
    std::atomic<std::uint32_t> progress_{0};     // changes with all that a thread may wait for
    std::atomic<bool> failed_{false};
    std::mutex error_mutex_;
    std::exception_ptr error_;
};

}  // namespace sovs
