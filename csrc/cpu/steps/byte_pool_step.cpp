#include "steps/byte_pool_step.h"

#include "base/error.h"
#include "base/scratch.h"
#include "kernels/bf16_table.h"
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

template <typename Number, typename PoolRow>
void BytePoolStep::pool(PoolRow pool_row, long unit, int part, const StepMaps& maps) const {
    const std::int64_t from = reads(unit, 0).begin, to = writes(unit).begin;
    Scratch scratch;
    const auto row = [&] {
        constexpr auto kNumbers = static_cast<std::int64_t>(sizeof(float) / sizeof(Number));
        return reinterpret_cast<Number*>(scratch.take(input_.w / kNumbers + 1));
    };
    Number *const upper = row(), *const lower = row(), *const pooled = row();
    for (std::int64_t channel = output_.c * part / parts_; channel < output_.c * (part + 1) / parts_; ++channel) {
        load_run(maps.inputs[0], from, channel, input_.w, upper);
        load_run(maps.inputs[0], from + input_.w, channel, input_.w, lower);
        pool_row(pooled, upper, lower, output_.w);
        store_run(maps.output, to, channel, output_.w, pooled);
    }
}

void BytePoolStep::run(long unit, int part, const StepMaps& maps) const {
    if (output_.dtype == DType::u8) return pool<std::uint8_t>(byte_kernels().pool_row, unit, part, maps);
    pool<std::uint16_t>(bf16_kernels()->pool_row, unit, part, maps);
}

}  // namespace sovs
