#include "conv/backend.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "conv/bf16_dense_backend.h"
#include "conv/bf16_rows_backend.h"
#include "conv/byte_dense_backend.h"
#include "conv/byte_depthwise_backend.h"
#include "conv/byte_rows_backend.h"
#include "conv/dense_backend.h"
#include "conv/depthwise_backend.h"
#include "conv/rows_backend.h"
#include "conv/winograd_backend.h"

namespace sovs {
namespace {

// The fastest one of those that may fit the same case stands first; rows take what no other does.
const ConvBackend* const kRegistry[] = {
    &byte_depthwise_backend(), &byte_dense_backend(), &byte_rows4_backend(), &byte_rows2_backend(),
    &byte_rows1_backend(),     &bf16_dense_backend(), &bf16_rows4_backend(), &bf16_rows1_backend(),
    &depthwise_backend(),      &winograd_backend(),   &dense_backend(),      &rows4_backend(),
    &rows1_backend(),
};

}  // namespace

std::optional<Layouts> ConvBackend::layouts(const ConvCase&) const { return std::nullopt; }

std::vector<Tuning> ConvBackend::candidates(const ConvCase&, std::size_t) const { return {Tuning{}}; }

const ConvBackend& backend_for(const ConvCase& conv) {
    const auto* const found = std::find_if(std::begin(kRegistry), std::end(kRegistry),
                                           [&](const ConvBackend* backend) { return backend->fits(conv); });
    if (found == std::end(kRegistry))
        throw InvalidArgument(std::string("expected a convolution that there is a kernel of ") +
                              name_of(conv.input.dtype) + " for");
    return **found;
}

}  // namespace sovs
