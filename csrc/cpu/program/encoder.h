// An encoder read from a plan file: its program, and plans for the input sizes that it met last.
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "program/program.h"

namespace sovs {

class Encoder {
public:
    // Throws InvalidArgument where the file is missing, damaged, foreign or newer than this library.
    explicit Encoder(const std::string& path);

    // The JSON text that the writer put into the file.
    const std::string& header() const { return header_; }
    const Program& program() const { return program_; }
    // Maps of the outputs, NCHW.
    std::vector<TensorDesc> outputs(std::int64_t n, std::int64_t h, std::int64_t w) const;
    // Any number of threads may ask at the same time.
    std::shared_ptr<const Plan> plan(std::int64_t n, std::int64_t h, std::int64_t w, int threads) const;

private:
    std::vector<TensorDesc> inputs(std::int64_t n, std::int64_t h, std::int64_t w) const;

    using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, int>;

    std::string header_;
    Program program_;
    mutable std::mutex mutex_;
    mutable std::list<std::pair<Key, std::shared_ptr<const Plan>>> plans_;  // the last used first
};

}  // namespace sovs
