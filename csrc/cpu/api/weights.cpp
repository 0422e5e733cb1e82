// The C API of weights.
#include "api/convert.h"
#include "api/handles.h"
#include "api/status.h"
#include "api/structs.h"
#include "weights/pack.h"

namespace {

using sovs::guarded;
using sovs::require;

}  // namespace

extern "C" {

sovs_status sovs_weights_create(const sovs_weights_desc* given, sovs_weights** out) {
    return guarded([&] {
        const sovs_weights_desc desc = sovs::taken(given);
        require(out != nullptr, "expected out, got NULL");
        require(desc.values != nullptr || desc.row_ptr != nullptr, "expected values, got NULL");
        const sovs::WeightSizes sizes{desc.out_channels, desc.in_channels, desc.kernel_h,
                                      desc.kernel_w,     desc.groups,      {desc.block_rows, 1}};
        const sovs::ValuesView values{sovs::dtype_of(desc.dtype), desc.values, desc.scales};
        const bool is_dense = desc.row_ptr == nullptr && desc.block_rows == 0;
        sovs::PackedWeights packed =
            is_dense ? sovs::pack_dense(sizes, values)
                     : sovs::pack_sparse({sizes, desc.row_ptr, desc.indices, desc.index_bits, values});
        *out = new sovs_weights{std::make_shared<sovs::Weights>(std::move(packed), desc.bias)};
    });
}

size_t sovs_weights_bytes(const sovs_weights* weights) { return weights == nullptr ? 0 : weights->shared->bytes(); }
size_t sovs_weights_packed_bytes(const sovs_weights* weights) {
    return weights == nullptr ? 0 : weights->shared->packed_bytes();
}
sovs_status sovs_weights_unpack(const sovs_weights* weights, float* dense) {
    return guarded([&] {
        require(weights != nullptr && dense != nullptr, "expected weights and dense, got NULL");
        weights->shared->unpack(dense);
    });
}
sovs_status sovs_weights_hold_once(const sovs_weights* weights) {
    return guarded([&] {
        require(weights != nullptr, "expected weights, got NULL");
        weights->shared->hold_once();
    });
}
sovs_status sovs_weights_update(const sovs_weights* weights, const float* weight, const float* bias, int32_t threads) {
    return guarded([&] {
        require(weights != nullptr && weight != nullptr, "expected weights and weight, got NULL");
        weights->shared->update(weight, bias, threads);
    });
}
sovs_status sovs_weights_transpose(const sovs_weights* weights, sovs_weights** out) {
    return guarded([&] {
        require(weights != nullptr && out != nullptr, "expected weights and out, got NULL");
        *out = new sovs_weights{sovs::Weights::transposed(*weights->shared)};
    });
}
void sovs_weights_destroy(sovs_weights* weights) { delete weights; }

}  // extern "C"
