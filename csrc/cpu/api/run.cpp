#include "api/run.h"

#include <string>
#include <vector>

#include "api/convert.h"
#include "api/structs.h"
#include "base/error.h"

namespace sovs {
namespace {

// The caller's memory for maps, once it is known to be of their types and sizes.
template <typename MapOf>
std::vector<void*> memory_of(const sovs_buffer* buffers, std::int32_t count, std::size_t wanted, const MapOf& map) {
    const std::vector<sovs_buffer> given = taken(buffers, count);
    if (given.size() != wanted)
        throw InvalidArgument("expected " + std::to_string(wanted) + " buffers, got " + std::to_string(given.size()));
    std::vector<void*> memory;
    for (std::size_t i = 0; i < wanted; ++i) {
        const TensorDesc& desc = map(i);
        require(given[i].data != nullptr, "expected a buffer with data, got NULL");
        const DType type = dtype_of(given[i].dtype);
        const std::size_t bytes = desc.bytes(desc.tiles());
        if (type != desc.dtype || given[i].bytes < bytes)
            throw InvalidArgument(std::string("expected a buffer of ") + std::to_string(bytes) + " bytes of " +
                                  name_of(desc.dtype) + ", got " + std::to_string(given[i].bytes) + " of " +
                                  name_of(type));
        memory.push_back(given[i].data);
    }
    return memory;
}

}  // namespace

void run(const Plan& plan, const sovs_buffer* inputs, std::int32_t input_count, const sovs_buffer* outputs,
         std::int32_t output_count, std::int32_t threads, double* seconds) {
    const auto given = memory_of(inputs, input_count, plan.input_count(), [&](std::size_t i) { return plan.input(i); });
    const auto made =
        memory_of(outputs, output_count, plan.output_count(), [&](std::size_t i) { return plan.output(i); });
    plan.run(given.data(), made.data(), threads, seconds);
}

}  // namespace sovs
