// The C API of encoders in plan files.
#include "api/convert.h"
#include "api/handles.h"
#include "api/run.h"
#include "api/status.h"
#include "api/structs.h"

namespace {

using sovs::guarded;
using sovs::require;

}  // namespace

extern "C" {

sovs_status sovs_encoder_load(const char* path, sovs_encoder** out) {
    return guarded([&] {
        require(path != nullptr && out != nullptr, "expected path and out, got NULL");
        *out = new sovs_encoder{sovs::Encoder(path)};
    });
}

int64_t sovs_encoder_input_channels(const sovs_encoder* encoder) {
    return encoder == nullptr ? 0 : encoder->encoder.program().inputs[0].channels;
}
int32_t sovs_encoder_output_count(const sovs_encoder* encoder) {
    return encoder == nullptr ? 0 : static_cast<int32_t>(encoder->encoder.program().outputs.size());
}
const char* sovs_encoder_header(const sovs_encoder* encoder) {
    return encoder == nullptr ? "" : encoder->encoder.header().c_str();
}

sovs_status sovs_encoder_outputs(const sovs_encoder* encoder, int64_t n, int64_t h, int64_t w, sovs_map* maps) {
    return guarded([&] {
        require(encoder != nullptr && maps != nullptr, "expected encoder and maps, got NULL");
        for (const sovs::TensorDesc& map : encoder->encoder.outputs(n, h, w))
            maps = sovs::give(maps, sovs::map_of(map));
    });
}

sovs_status sovs_encoder_run(const sovs_encoder* encoder, const sovs_buffer* input, int64_t n, int64_t h, int64_t w,
                             const sovs_buffer* outputs, int32_t output_count, int32_t threads) {
    return guarded([&] {
        require(encoder != nullptr, "expected encoder, got NULL");
        require(threads > 0, "expected at least 1 thread");
        sovs::run(*encoder->encoder.plan(n, h, w, threads), input, 1, outputs, output_count, threads, nullptr);
    });
}

sovs_status sovs_encoder_plan(const sovs_encoder* encoder, int64_t n, int64_t h, int64_t w, int32_t threads,
                              sovs_plan** out) {
    return guarded([&] {
        require(encoder != nullptr && out != nullptr, "expected encoder and out, got NULL");
        require(threads > 0, "expected at least 1 thread");
        *out = new sovs_plan{encoder->encoder.plan(n, h, w, threads)};
    });
}

void sovs_encoder_destroy(sovs_encoder* encoder) { delete encoder; }

}  // extern "C"
