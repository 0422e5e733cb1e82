// Memory for large outputs that is kept for the next one, instead of going back to the system page by page.
//
// A fresh 26 MB map costs 6,400 page faults, more time than a sparse layer needs to fill it.
#pragma once
#include <cstddef>

namespace sovs {

// At least `bytes` bytes, aligned to a huge page, contents undefined. Throws std::bad_alloc.
void* take_buffer(std::size_t bytes);
// Gives back what take_buffer gave; throws InvalidArgument for anything else.
void give_buffer(void* buffer);
// Bytes kept for later now; never more than kIdleBytes.
std::size_t idle_buffer_bytes();

inline constexpr std::size_t kIdleBytes = std::size_t{256} << 20;

}  // namespace sovs
