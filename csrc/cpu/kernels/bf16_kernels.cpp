// Compiled once for each ISA of the bf16 kernels: instantiates every width and lists them in the table.
#include "kernels/bf16_table.h"
#include "kernels/bf16/bf16_dense.h"
#include "kernels/bf16/bf16_maps.h"
#include "kernels/bf16/bf16_rows.h"
#if defined(SOVS_ISA_AMXBF16)
#include "kernels/bf16/amx_dense.h"
#endif

namespace sovs::SOVS_ISA_NAMESPACE {

// As many sums as the registers hold beside two vectors of pixels, their pairs and the weights.
constexpr int kMost1 = 10, kMost4 = 3, kDenseRows = 12;

template <int kVectors>
constexpr void fill(Bf16Table& t) {
    if constexpr (kVectors <= kMost1) t.rows1[kVectors] = bf16_rows<1, kVectors>;
    if constexpr (kVectors <= kMost4) t.rows4[kVectors] = bf16_rows<4, kVectors>;
    if constexpr (kVectors < kMostBf16Vectors) fill<kVectors + 1>(t);
}

constexpr Bf16Table make_bf16_table() {
    Bf16Table t{};
#define SOVS_STRING2(x) #x
#define SOVS_STRING(x) SOVS_STRING2(x)
    t.isa = SOVS_STRING(SOVS_ISA_NAMESPACE);
    fill<1>(t);
    t.most1 = kMost1;
    t.most4 = kMost4;
#if defined(SOVS_ISA_AMXBF16)
    t.densest1 = 0.045;
    t.densest4 = 0.075;
    t.blocks = {kTileRows, kTilePairs};
    t.dense = amx_dense;
#else
    t.densest1 = 0.5;
    t.densest4 = 0.75;
    t.blocks = {kDenseRows, 1};
    t.dense = bf16_dense<kDenseRows>;
#endif
    t.pair = bf16_pair;
    t.narrow = narrow;
    t.widen = widen;
    t.pool_row = bf16_pool_row;
    return t;
}

extern const Bf16Table bf16_table;
constinit const Bf16Table bf16_table = make_bf16_table();

}  // namespace sovs::SOVS_ISA_NAMESPACE
