#include "steps/byte_pool_step.h"

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/byte_table.h"
#include "maps/byte_runs.h"

namespace sovs {
namespace {

constexpr std::int64_t kPartBytes = 64 * 1024;  // enough work to pay for handing it out

}  // namespace

BytePoolStep::BytePoolStep(const TensorDesc& input, const TensorDesc& output)
    : input_(input),
      output_(output),
      parts_(static_cast<int>(std::min(output.c, (output.w * output.c + kPartBytes - 1) / kPartBytes))) {
    require(output.n == input.n && output.c == input.c, "expected a pooled map of the input's batch and channels");
    require(output.h == input.h / 2 && output.w == input.w / 2 && output.h > 0 && output.w > 0,
            "expected a pooled map of half the input's size");
    require(output.quant == input.quant, "expected a pooled map of the input's scale and zero point");
}

Range BytePoolStep::writes(long unit) const {
    return rows_of(output_, unit / output_.h, unit % output_.h, unit % output_.h + 1);
}

Range BytePoolStep::reads(long unit, std::size_t) const {
    const std::int64_t y = 2 * (unit % output_.h);
    return rows_of(input_, unit / output_.h, y, y + 2);
}

void BytePoolStep::run(long unit, int part, const StepMaps& maps) const {
    const std::int64_t from = reads(unit, 0).begin, to = writes(unit).begin;
    Scratch scratch;
    const auto row = [&] {
        return reinterpret_cast<std::uint8_t*>(scratch.take(input_.w / static_cast<std::int64_t>(sizeof(float)) + 1));
    };
    std::uint8_t *const upper = row(), *const lower = row(), *const pooled = row();
    for (std::int64_t channel = output_.c * part / parts_; channel < output_.c * (part + 1) / parts_; ++channel) {
        load_bytes(maps.inputs[0], from, channel, input_.w, upper);
        load_bytes(maps.inputs[0], from + input_.w, channel, input_.w, lower);
        byte_kernels().pool_row(pooled, upper, lower, output_.w);
        store_bytes(maps.output, to, channel, output_.w, pooled);
    }
}

}  // namespace sovs
