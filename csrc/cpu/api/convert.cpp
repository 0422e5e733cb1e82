#include "api/convert.h"

#include "api/structs.h"
#include "base/error.h"

namespace sovs {

DType dtype_of(std::int64_t dtype) {
    require(dtype >= SOVS_F32 && dtype <= SOVS_BF16, "expected a type of sovs_dtype");
    return static_cast<DType>(dtype);
}

TensorDesc map_of(const sovs_map& map) {
    require(map.n > 0 && map.c > 0 && map.h > 0 && map.w > 0, "expected tensor sizes of at least 1");
    return {map.n,
            map.c,
            map.h,
            map.w,
            tile_of(map.layout),
            dtype_of(map.dtype),
            map.scale == 0.0f ? Quant{} : Quant{map.scale, map.zero_point}};
}

sovs_map map_of(const TensorDesc& map) {
    const bool nchw = map.tile == TensorDesc::nchw(map.h, map.w);
    return {sizeof(sovs_map),
            map.n,
            map.c,
            map.h,
            map.w,
            nchw ? SOVS_NCHW : SOVS_NHWC,
            static_cast<std::int64_t>(map.dtype),
            is_float(map.dtype) ? 0.0f : map.quant.scale,
            map.quant.zero_point};
}

std::int64_t tile_of(std::int64_t layout) {
    require(layout == SOVS_NCHW || layout == SOVS_NHWC, "expected layout SOVS_NCHW or SOVS_NHWC");
    return layout == SOVS_NHWC ? TensorDesc::kNhwc : 0;
}

// sovs_activation is Activation as C knows it.
static_assert(static_cast<int>(Activation::none) == SOVS_NONE && static_cast<int>(Activation::relu) == SOVS_RELU &&
              static_cast<int>(Activation::gelu) == SOVS_GELU &&
              static_cast<int>(Activation::gelu_tanh) == SOVS_GELU_TANH &&
              static_cast<int>(Activation::quick_gelu) == SOVS_QUICK_GELU &&
              static_cast<int>(Activation::relu6) == SOVS_RELU6);

ConvParams conv_params(const sovs_conv2d_params* given) {
    const sovs_conv2d_params p = taken(given);
    require(p.activation >= SOVS_NONE && p.activation <= SOVS_RELU6, "expected an activation of sovs_activation");
    return {
        p.stride_h, p.stride_w, p.pad_h, p.pad_w, p.dilation_h, p.dilation_w, static_cast<Activation>(p.activation)};
}

Tuning tuning_of(const sovs_tuning* tuning) { return tuning == nullptr ? Tuning{} : tuning_of(taken(tuning)); }

Tuning tuning_of(const sovs_tuning& t) { return {t.tile_rows, t.tile_cols, t.k_tile, t.row_parts, t.panel}; }

sovs_tuning tuning_of(const Tuning& t) {
    return {sizeof(sovs_tuning), t.tile_rows, t.tile_cols, t.k_tile, t.row_parts, t.panel};
}

}  // namespace sovs
