// The C API of what the whole process shares: version, ISA, threads, buffers.
#include "api/status.h"
#include "base/buffer_pool.h"
#include "base/thread_pool.h"
#include "kernels/bf16_table.h"
#include "kernels/isa.h"

namespace {

using sovs::guarded;
using sovs::require;

}  // namespace

extern "C" {

int32_t sovs_abi_version(void) { return SOVS_ABI_VERSION; }
const char* sovs_last_error(void) { return sovs::last_error.c_str(); }

const char* sovs_isa(void) {
    const char* name = nullptr;
    guarded([&] { name = sovs::kernels().isa; });
    return name;
}
const char* sovs_available_isas(void) { return sovs::available_isas().c_str(); }

const char* sovs_bf16_isa(void) {
    const char* name = nullptr;
    guarded([&] { name = sovs::bf16_kernels() == nullptr ? nullptr : sovs::bf16_kernels()->isa; });
    return name;
}

void sovs_use_openmp(sovs_openmp_parallel parallel) { sovs::use_openmp(parallel); }

sovs_status sovs_buffer_take(size_t bytes, void** out) {
    return guarded([&] {
        require(bytes > 0 && out != nullptr, "expected bytes and out, got 0 or NULL");
        *out = sovs::take_buffer(bytes);
    });
}
sovs_status sovs_buffer_give(void* buffer) {
    return guarded([&] { sovs::give_buffer(buffer); });
}
size_t sovs_buffer_idle_bytes(void) { return sovs::idle_buffer_bytes(); }

}  // extern "C"
