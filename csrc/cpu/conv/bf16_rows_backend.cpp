#include "conv/bf16_rows_backend.h"

#include "conv/bf16_sums.h"
#include "conv/byte_rows_step.h"
#include "kernels/bf16_table.h"

namespace sovs {
namespace {

class Bf16Rows {
public:
    Bf16Rows(const ConvCase& conv, const ByteStream&, std::int64_t padded) : sums_(conv, padded) {}

    static bool pairs_in_16_bits() { return false; }
    static std::int64_t vector_bytes() { return kByteLine; }
    static int widest(std::int64_t rows) { return rows == 1 ? bf16_kernels()->most1 : bf16_kernels()->most4; }
    static bool halves(std::int64_t) { return false; }
    static std::uint8_t zero() { return 0; }

    void run(std::int64_t rows, int vectors, const ByteStreamPart& part, const std::byte* entries,
             const std::uint8_t* panel, const StepMaps& maps, std::int64_t pixel, std::int64_t lane) const {
        const auto& kernels_by_vectors = rows == 1 ? bf16_kernels()->rows1 : bf16_kernels()->rows4;
        kernels_by_vectors[vectors]({part.groups.data(), static_cast<std::int32_t>(part.groups.size()),
                                     part.row_ids.data(), entries, panel, sums_.bias(), sums_.channels(),
                                     sums_.epilogue(maps, pixel, lane)});
    }

private:
    Bf16Sums sums_;
};

class Bf16RowsBackend final : public ConvBackend {
public:
    Bf16RowsBackend(std::int64_t block_rows, const char* name) : block_rows_(block_rows), name_(name) {}

    const char* name() const override { return name_; }

    bool fits(const ConvCase& conv) const override {
        const WeightSizes& sizes = conv.weights->sizes();
        return bf16_case(conv) && sizes.block.rows == block_rows_ && sizes.columns() < kMostPanelLines;
    }

    std::vector<Tuning> candidates(const ConvCase& conv, std::size_t most) const override {
        return rows_candidates(conv, most);
    }

    std::unique_ptr<const Step> make(const ConvCase& conv, const Tuning& tuning, int threads) const override {
        return std::make_unique<const ByteRowsStep<Bf16Rows>>(name_, conv, tuning, threads);
    }

private:
    std::int64_t block_rows_;
    const char* name_;
};

}  // namespace

const ConvBackend& bf16_rows1_backend() {
    static const Bf16RowsBackend backend(1, "bf16 rows1");
    return backend;
}

const ConvBackend& bf16_rows4_backend() {
    static const Bf16RowsBackend backend(4, "bf16 rows4");
    return backend;
}

}  // namespace sovs
