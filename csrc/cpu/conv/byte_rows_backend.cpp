#include "conv/byte_rows_backend.h"

#include "conv/byte_rows_step.h"
#include "conv/byte_scales.h"
#include "kernels/byte_table.h"

namespace sovs {
namespace {

class Int8Rows {
public:
    Int8Rows(const ConvCase& conv, const ByteStream& stream, std::int64_t padded)
        : zero_(static_cast<std::uint8_t>(conv.input.quant.zero_point)),
          channels_(static_cast<std::int32_t>(conv.output.c)),
          scales_(conv, stream.sums, padded) {}

    static bool pairs_in_16_bits() { return byte_kernels().adds_pairs_in_16_bits; }
    static std::int64_t vector_bytes() { return byte_kernels().bytes; }
    static int widest(std::int64_t rows) {
        const ByteTable& table = byte_kernels();
        return rows == 1 ? table.most1 : rows == 2 ? table.most2 : table.most4;
    }
    static bool halves(std::int64_t pixels) { return &byte_kernels_for(pixels) != &byte_kernels(); }
    std::uint8_t zero() const { return zero_; }

    void run(std::int64_t rows, int vectors, const ByteStreamPart& part, const std::byte* entries,
             const std::uint8_t* panel, const StepMaps& maps, std::int64_t pixel, std::int64_t lane) const {
        const ByteTable& table = vectors == 0 ? *byte_kernels().half : byte_kernels();
        const auto& kernels_by_vectors = rows == 1 ? table.rows1 : rows == 2 ? table.rows2 : table.rows4;
        kernels_by_vectors[std::max(1, vectors)]({part.groups.data(), static_cast<std::int32_t>(part.groups.size()),
                                                  part.row_ids.data(), entries, panel, scales_.start(), channels_,
                                                  scales_.epilogue(maps, pixel, lane)});
    }

private:
    std::uint8_t zero_;  // of the input
    std::int32_t channels_;
    ByteScales scales_;
};

class ByteRowsBackend final : public ConvBackend {
public:
    ByteRowsBackend(std::int64_t block_rows, const char* name) : block_rows_(block_rows), name_(name) {}

    const char* name() const override { return name_; }

    bool fits(const ConvCase& conv) const override {
        const WeightSizes& sizes = conv.weights->sizes();
        return conv.weights->dtype() == DType::s8 && conv.input.dtype == DType::u8 && sizes.block.rows == block_rows_ &&
               sizes.columns() < kMostPanelLines;
    }

    std::vector<Tuning> candidates(const ConvCase& conv, std::size_t most) const override {
        return rows_candidates(conv, most);
    }

    std::unique_ptr<const Step> make(const ConvCase& conv, const Tuning& tuning, int threads) const override {
        return std::make_unique<const ByteRowsStep<Int8Rows>>(name_, conv, tuning, threads);
    }

private:
    std::int64_t block_rows_;
    const char* name_;
};

}  // namespace

const ConvBackend& byte_rows1_backend() {
    static const ByteRowsBackend backend(1, "int8 rows1");
    return backend;
}

const ConvBackend& byte_rows2_backend() {
    static const ByteRowsBackend backend(2, "int8 rows2");
    return backend;
}

const ConvBackend& byte_rows4_backend() {
    static const ByteRowsBackend backend(4, "int8 rows4");
    return backend;
}

}  // namespace sovs
