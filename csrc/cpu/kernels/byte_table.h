// What each ISA's build of the int8 kernels offers. Contracts stand in kernels/tasks; results are the same to the bit on every
// ISA.
#pragma once
#include <cstdint>

#include "kernels/tasks/byte_dense.h"
#include "kernels/tasks/byte_depthwise.h"
#include "kernels/tasks/byte_rows.h"
#include "kernels/tasks/bytes.h"

namespace sovs {

inline constexpr int kMostByteVectors = 4;  // of one kernel call

struct ByteTable {
    const char* isa;
    // The same for vectors half as wide, which do for the last few pixels of a tile; null where there are none.
    const ByteTable* half;
    int bytes;  // of a vector
    // Products of two neighbouring columns are added in 16 bits: weights of a pair must not add up to more than 128.
    bool adds_pairs_in_16_bits;
    // Pixels are multiplied as if they were so much less, which what sums start from makes good.
    int pixels_less;
    // By vectors; null where the registers do not hold so many sums.
    ByteRowsKernel rows1[kMostByteVectors + 1];
    ByteRowsKernel rows2[kMostByteVectors + 1];
    ByteRowsKernel rows4[kMostByteVectors + 1];
    int most1, most2, most4;  // vectors of the widest
    // Null where pairs are added in 16 bits: all rows read the same pairs, and no order of columns suits the weights of all.
    int dense_rows;  // output channels that `dense` multiplies at a time
    void (*dense)(const ByteDenseTask&);
    void (*quad)(const ByteQuadTask&);
    void (*depthwise)(const ByteDepthwiseTask&);
    void (*taps)(const TapsTask&);
    void (*phases[3])(const PhasesTask&);  // by bytes of a number, 1 or 2
    void (*split[3])(const SplitTask&);
    void (*quantize)(const QuantizeTask&);
    void (*dequantize)(const DequantizeTask&);
    // One output row of a 2x2 average, rounded half up, from two input rows of 2 * pixels pixels.
    void (*pool_row)(std::uint8_t* out, const std::uint8_t* upper, const std::uint8_t* lower, std::int64_t pixels);
};

namespace generic {
extern const ByteTable byte_table;
}
namespace avx2 {
extern const ByteTable byte_table;
}
namespace avx512vnni {
extern const ByteTable byte_table;
}
namespace neon {
extern const ByteTable byte_table;
}
namespace neondot {
extern const ByteTable byte_table;
}
namespace avx256vnni {  // half of avx512vnni
extern const ByteTable byte_table;
}

// Those that go with kernels(): its ISA's, or the next narrower one's that there is.
const ByteTable& byte_kernels();

// Those for a run of that many pixels, or the first of them: of half vectors where one such holds what is left.
inline const ByteTable& byte_kernels_for(std::int64_t pixels) {
    const ByteTable& table = byte_kernels();
    return table.half != nullptr && pixels <= table.half->bytes ? *table.half : table;
}

}  // namespace sovs
