// The unit in which maps and panels of bytes are laid out: a cache line, and the widest vector.
#pragma once
#include <cstdint>

namespace sovs {

inline constexpr std::int64_t kByteLine = 64;

constexpr std::int64_t whole_byte_lines(std::int64_t bytes) { return (bytes + kByteLine - 1) / kByteLine * kByteLine; }

}  // namespace sovs
