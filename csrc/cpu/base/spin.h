// Waiting in a loop for what is about to happen.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sovs {

// Long enough to bridge the glue between two layers, short enough not to take a core from another runtime.
inline constexpr int kSpins = 2000;

inline void cpu_relax() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace sovs
