// The C API of tuning: which convolutions' tilings are worth timing, and their times.
#include <algorithm>
#include <iterator>

#include "api/convert.h"
#include "api/handles.h"
#include "api/status.h"
#include "api/structs.h"
#include "conv/tune.h"

namespace {

using sovs::guarded;
using sovs::require;

sovs::MapPlace map_place(std::int64_t place) {
    require(place >= SOVS_MAP_NCHW && place <= SOVS_MAP_FREE, "expected a place of sovs_map_place");
    return static_cast<sovs::MapPlace>(place);
}

sovs::ConvPlace conv_place(const sovs_conv2d_place* place) {
    const sovs_conv2d_place p = sovs::taken(place);
    require(p.dtype == SOVS_F32 || p.dtype == SOVS_BF16, "expected maps of SOVS_F32 or SOVS_BF16");
    return {p.n,
            p.h,
            p.w,
            map_place(p.input),
            map_place(p.output),
            p.residual != 0,
            p.alone != 0,
            static_cast<sovs::DType>(p.dtype)};
}

}  // namespace

extern "C" {

sovs_status sovs_conv2d_backend(const sovs_weights* weights, const sovs_conv2d_params* params,
                                const sovs_conv2d_place* place, const char** out) {
    return guarded([&] {
        require(weights != nullptr && params != nullptr && place != nullptr && out != nullptr,
                "expected weights, params, place and out, got NULL");
        *out = sovs::conv_backend(weights->shared, sovs::conv_params(params), conv_place(place));
    });
}

sovs_status sovs_conv2d_candidates(const sovs_weights* weights, const sovs_conv2d_params* params,
                                   const sovs_conv2d_place* place, sovs_tuning* out, int32_t* count) {
    return guarded([&] {
        require(weights != nullptr && params != nullptr && place != nullptr && out != nullptr && count != nullptr,
                "expected weights, params, place, out and count, got NULL");
        require(*count > 0, "expected room for at least 1 tuning");
        const auto found = sovs::conv_candidates(weights->shared, sovs::conv_params(params), conv_place(place),
                                                 static_cast<std::size_t>(*count));
        *count = static_cast<int32_t>(found.size());
        for (const sovs::Tuning& tuning : found) out = sovs::give(out, sovs::tuning_of(tuning));
    });
}

sovs_status sovs_conv2d_time(const sovs_weights* weights, const sovs_conv2d_params* params,
                             const sovs_conv2d_place* place, const sovs_tuning* tunings, int32_t count, int32_t rounds,
                             double* seconds) {
    return guarded([&] {
        require(weights != nullptr && params != nullptr && place != nullptr && tunings != nullptr && seconds != nullptr,
                "expected weights, params, place, tunings and seconds, got NULL");
        require(count > 0, "expected at least 1 tuning");
        std::vector<sovs::Tuning> wanted;
        for (const sovs_tuning& tuning : sovs::taken(tunings, count)) wanted.push_back(sovs::tuning_of(tuning));
        const auto found =
            sovs::time_conv(weights->shared, sovs::conv_params(params), conv_place(place), wanted, rounds);
        std::copy(found.begin(), found.end(), seconds);
    });
}

}  // extern "C"
