// Compiled once for each ISA of the int8 kernels: instantiates every width and lists them in the table.
#include "kernels/byte_table.h"
#include "kernels/u8s8/byte_dense.h"
#include "kernels/u8s8/byte_depthwise.h"
#include "kernels/u8s8/byte_rows.h"
#include "kernels/u8s8/bytes.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// As many sums as the registers hold beside four vectors of pixels and the weights.
#if defined(SOVS_ISA_AVX512VNNI) || defined(SOVS_ISA_AVX256VNNI)
constexpr int kMost1 = 3, kMost2 = 2, kMost4 = 1, kRowsAtATime = 4, kDenseRows = 6;
#elif defined(SOVS_ISA_NEON) || defined(SOVS_ISA_NEONDOT)
constexpr int kMost1 = 4, kMost2 = 2, kMost4 = 1, kRowsAtATime = 4, kDenseRows = 5;
#else
constexpr int kMost1 = 1, kMost2 = 1, kMost4 = 1, kRowsAtATime = 2, kDenseRows = 2;
#endif

template <int kVectors>
constexpr void fill(ByteTable& t) {
    if constexpr (kVectors <= kMost1) t.rows1[kVectors] = byte_rows<1, 1, kVectors>;
    if constexpr (kVectors <= kMost2) t.rows2[kVectors] = byte_rows<2, 2, kVectors>;
    if constexpr (kVectors <= kMost4) t.rows4[kVectors] = byte_rows<4, kRowsAtATime, kVectors>;
    if constexpr (kVectors < kMostByteVectors) fill<kVectors + 1>(t);
}

constexpr ByteTable make_byte_table() {
    ByteTable t{};
#define SOVS_STRING2(x) #x
#define SOVS_STRING(x) SOVS_STRING2(x)
    t.isa = SOVS_STRING(SOVS_ISA_NAMESPACE);
#if defined(SOVS_ISA_AVX512VNNI)
    t.half = &avx256vnni::byte_table;
#endif
    t.bytes = Bytes::kCount;
    t.adds_pairs_in_16_bits = Bytes::kPairsIn16Bits;
    t.pixels_less = Bytes::kPixelsLess;
    fill<1>(t);
    t.most1 = kMost1;
    t.most2 = kMost2;
    t.most4 = kMost4;
    if constexpr (!Bytes::kPairsIn16Bits) {
        t.dense_rows = kDenseRows;
        t.dense = byte_dense<kDenseRows>;
        t.quad = byte_quad;
    }
    t.depthwise = byte_depthwise;
    t.taps = taps;
    t.phases[1] = phases<std::uint8_t>;
    t.phases[2] = phases<std::uint16_t>;
    t.split[1] = split<std::uint8_t>;
    t.split[2] = split<std::uint16_t>;
    t.quantize = quantize;
    t.dequantize = dequantize;
    t.pool_row = byte_pool_row;
    return t;
}

extern const ByteTable byte_table;
constinit const ByteTable byte_table = make_byte_table();

}  // namespace sovs::SOVS_ISA_NAMESPACE
