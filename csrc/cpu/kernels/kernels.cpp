// Compiled once for each ISA: instantiates every kernel width and lists them in the table.
#include "kernels/f32/activation.h"
#include "kernels/f32/attention.h"
#include "kernels/f32/batch_norm.h"
#include "kernels/f32/decide.h"
#include "kernels/f32/deformable.h"
#include "kernels/f32/dense.h"
#include "kernels/f32/depthwise.h"
#include "kernels/f32/group_norm.h"
#include "kernels/f32/layer_norm.h"
#include "kernels/f32/mask_row.h"
#include "kernels/f32/panel.h"
#include "kernels/f32/pool.h"
#include "kernels/f32/rows.h"
#include "kernels/f32/sampled.h"
#include "kernels/f32/winograd.h"
#include "kernels/kernel_table.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// As many vectors as the register file holds: sums beside a weight (rows1), or beside a weight and the activations (rows4);
// gradients beside four sums (sampled1), or of four rows beside those (sampled4).
#if defined(SOVS_WIDTH_16)
constexpr int kMax1 = 16, kMax4 = 6, kMaxSampled1 = 16, kMaxSampled4 = 6;
#elif defined(SOVS_ISA_AVX2)
constexpr int kMax1 = 14, kMax4 = 3, kMaxSampled1 = 10, kMaxSampled4 = 2;
#elif defined(SOVS_ISA_NEON)
constexpr int kMax1 = 16, kMax4 = 6, kMaxSampled1 = 16, kMaxSampled4 = 6;
#else
constexpr int kMax1 = 8, kMax4 = 3, kMaxSampled1 = 8, kMaxSampled4 = 2;
#endif

template <int kVectors>
constexpr void fill(KernelTable& t) {
    if constexpr (kVectors <= kMax1) t.rows1[kVectors] = rows1<kVectors>;
    if constexpr (kVectors <= kMax4) t.rows4[kVectors] = rows4<kVectors>;
    if constexpr (kVectors <= kMax4) t.attend[kVectors] = attend<kVectors>;
    if constexpr (kVectors <= kMaxSampled1) t.sampled1[kVectors] = sampled1<kVectors>;
    if constexpr (kVectors <= kMaxSampled4) t.sampled4[kVectors] = sampled4<kVectors>;
    if constexpr (kVectors < kMax1 || kVectors < kMax4) fill<kVectors + 1>(t);
}

constexpr KernelTable make_table() {
    KernelTable t{};
#define SOVS_STRING2(x) #x
#define SOVS_STRING(x) SOVS_STRING2(x)
    t.isa = SOVS_STRING(SOVS_ISA_NAMESPACE);
    t.width = Vec::kWidth;
    t.max_vectors1 = kMax1;
    t.max_vectors4 = kMax4;
    t.max_sampled1 = kMaxSampled1;
    t.max_sampled4 = kMaxSampled4;
    fill<1>(t);
    t.pack = pack;
    t.clear = clear;
    t.store = store;
    t.dense = dense;
    t.activate = activate;
    t.layer_norm = layer_norm;
    t.finish_attention = finish_attention;
    t.plane_moments = plane_moments;
    t.plane_products = plane_products;
    t.plane_scale = plane_scale;
    t.norm_row = norm_row;
    t.upsample_row = upsample_row;
    t.decide_row = decide_row;
    t.mask_row = mask_row;
    t.depthwise = depthwise;
    t.deformable = deformable;
    t.patch = patch;
    t.quad = quad;
    t.pool_row = pool_row;
    t.atrous_pool_row = atrous_pool_row;
    return t;
}

extern const KernelTable table;
constinit const KernelTable table = make_table();

}  // namespace sovs::SOVS_ISA_NAMESPACE
