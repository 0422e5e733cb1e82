// What each ISA's build of the bf16 kernels offers. Contracts stand in kernels/tasks.
#pragma once
#include <cstdint>

#include "kernels/tasks/bf16_dense.h"
#include "kernels/tasks/bf16_rows.h"
#include "weights/bf16_matrix.h"

namespace sovs {

inline constexpr int kBf16Vector = 32;       // numbers
inline constexpr int kMostBf16Vectors = 10;  // of one kernel call

struct Bf16Table {
    const char* isa;
    // By vectors; null where the registers do not hold so many sums.
    Bf16RowsKernel rows1[kMostBf16Vectors + 1];
    Bf16RowsKernel rows4[kMostBf16Vectors + 1];
    int most1, most4;           // vectors of the widest
    double densest1, densest4;  // above this density, by rows of a block, zeros are multiplied too: by `dense`
    Bf16Blocks blocks;          // that `dense` multiplies at a time
    void (*dense)(const Bf16DenseTask&);
    void (*pair)(const Bf16PairTask&);
    // Rounded half to even; numbers below 2^-126 become 0.
    void (*narrow)(std::uint16_t* to, const float* from, std::int64_t count);
    void (*widen)(float* to, const std::uint16_t* from, std::int64_t count);
    // One output row of a 2x2 average, summed in fp32, from two input rows of 2 * pixels pixels.
    void (*pool_row)(std::uint16_t* out, const std::uint16_t* upper, const std::uint16_t* lower, std::int64_t pixels);
};

namespace avx512bf16 {
extern const Bf16Table bf16_table;
}
namespace amxbf16 {
extern const Bf16Table bf16_table;
}

// Those that go with kernels(); null where the CPU has none.
const Bf16Table* bf16_kernels();
// Throws InvalidArgument where it has none.
void require_bf16_kernels();

}  // namespace sovs
