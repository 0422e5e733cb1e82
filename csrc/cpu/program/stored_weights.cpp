#include "program/stored_weights.h"

#include <vector>

#include "base/error.h"
#include "program/column_gaps.h"
#include "program/record.h"
#include "weights/pack.h"

namespace sovs {
namespace {

[[noreturn]] void refuse(const std::string& expected) { throw InvalidArgument("expected " + expected); }

WeightSizes sizes_of(const Json& said, std::int64_t groups) {
    const Json::Array& shape = said.at("shape").array();
    if (shape.size() != 4) refuse("a weight of four dimensions");
    std::int64_t sides[4];
    for (int i = 0; i < 4; ++i) sides[i] = integer_in(shape[i], 1, INT32_MAX, "sides of a weight");
    return {sides[0], sides[1], sides[2], sides[3], groups};
}

bool is_s8(const TensorSource& tensors, const std::string& tensor) { return tensors.dtype(tensor) == "I8"; }

// Numbers of either type, and the scales that go with them.
class Numbers {
public:
    Numbers(TensorSource& tensors, const std::string& step, const char* part, const std::vector<std::int64_t>& shape,
            std::int64_t out_channels) {
        const std::string name = step + "." + part;
        if (is_s8(tensors, name)) {
            bytes_ = tensors.read<std::int8_t>(name, shape);
            scales_ = tensors.read<float>(step + ".scales", {out_channels});
        } else {
            floats_ = tensors.read<float>(name, shape);
        }
    }
    ValuesView view() const {
        if (scales_.empty()) return {DType::f32, floats_.data()};
        return {DType::s8, bytes_.data(), scales_.data()};
    }

private:
    std::vector<float> floats_, scales_;
    std::vector<std::int8_t> bytes_;
};

std::vector<std::int32_t> row_ptr_of_counts(const std::vector<std::uint16_t>& counts) {
    std::vector<std::int32_t> row_ptr{0};
    std::int64_t blocks = 0;
    for (const std::uint16_t count : counts) {
        blocks += count;
        if (blocks > INT32_MAX) refuse("fewer than 2**31 blocks");
        row_ptr.push_back(static_cast<std::int32_t>(blocks));
    }
    return row_ptr;
}

PackedWeights read_sparse(TensorSource& tensors, const std::string& step, WeightSizes sizes, const Json& said) {
    const std::string values_name = step + ".values", indices = step + ".indices", gaps = step + ".gaps";
    const std::int64_t block_rows = said.at("block_rows").integer();
    const bool twos = tensors.has(values_name) && is_s8(tensors, values_name);
    if (block_rows != 1 && block_rows != 4 && (!twos || block_rows != 2))
        refuse(twos ? "block_rows of 1, 2 or 4" : "block_rows of 1 or 4");
    sizes.block.rows = block_rows;
    const std::int64_t rows = sizes.block_row_count();
    const bool has_gaps = tensors.has(gaps);
    const std::vector<std::int32_t> row_ptr =
        has_gaps ? row_ptr_of_counts(tensors.read<std::uint16_t>(step + ".counts", {rows}))
                 : tensors.read<std::int32_t>(step + ".row_ptr", {rows + 1});
    const std::int64_t blocks = row_ptr.back();
    const Numbers values(tensors, step, "values", {blocks, block_rows}, sizes.out_channels);
    std::vector<std::uint16_t> narrow;
    std::vector<std::int32_t> wide;
    if (has_gaps)
        wide = columns_of_gaps(tensors.read_row<std::uint8_t>(gaps), row_ptr, sizes.columns(), gaps);
    else if (tensors.dtype(indices) == "U16")
        narrow = tensors.read<std::uint16_t>(indices, {blocks});
    else
        wide = tensors.read<std::int32_t>(indices, {blocks});
    if (narrow.empty()) return pack_sparse({sizes, row_ptr.data(), wide.data(), 32, values.view()});
    return pack_sparse({sizes, row_ptr.data(), narrow.data(), 16, values.view()});
}

}  // namespace

PackedWeights read_stored_weights(TensorSource& tensors, const std::string& step, const Json& said,
                                  std::int64_t groups) {
    const WeightSizes sizes = sizes_of(said, groups);
    if (!tensors.has(step + ".weight")) return read_sparse(tensors, step, sizes, said);
    const Numbers dense(tensors, step, "weight",
                        {sizes.out_channels, sizes.in_channels, sizes.kernel_h, sizes.kernel_w}, sizes.out_channels);
    return pack_dense(sizes, dense.view());
}

}  // namespace sovs
