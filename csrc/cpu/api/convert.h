// The C API's descriptions as the library's own.
#pragma once
#include "conv/conv_params.h"
#include "conv/tiling.h"
#include "maps/tensor.h"
#include "sparse_ovs.h"

namespace sovs {

DType dtype_of(std::int64_t dtype);
// 0 for NCHW, as programs take it.
std::int64_t tile_of(std::int64_t layout);
TensorDesc map_of(const sovs_map& map);
sovs_map map_of(const TensorDesc& map);
ConvParams conv_params(const sovs_conv2d_params* params);
// NULL lets the library choose.
Tuning tuning_of(const sovs_tuning* tuning);
Tuning tuning_of(const sovs_tuning& tuning);
sovs_tuning tuning_of(const Tuning& tuning);

}  // namespace sovs
