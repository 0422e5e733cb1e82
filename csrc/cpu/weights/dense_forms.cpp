#include "weights/dense_forms.h"

namespace sovs {

AlignedBuffer<float> dense_matrix(const PackedWeights& packed, std::int64_t padded) {
    const Structure& s = packed.structure;
    const std::span<const float> numbers = packed.values.f32();
    const std::int64_t rows = s.sizes.block.rows;
    AlignedBuffer<float> matrix(static_cast<std::size_t>(s.sizes.columns() * padded));
    for (std::int64_t row = 0; row < s.sizes.block_row_count(); ++row)
        for (std::int64_t block = s.row_ptr[row]; block < s.row_ptr[row + 1]; ++block)
            for (std::int64_t r = 0; r < rows && row * rows + r < s.sizes.out_channels; ++r)
                matrix.data()[s.keys[block] * padded + row * rows + r] = numbers[block * rows + r];
    return matrix;
}

AlignedBuffer<float> winograd_points(const AlignedBuffer<float>& matrix, const WeightSizes& sizes,
                                     std::int64_t padded) {
    constexpr double kG[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
    AlignedBuffer<float> points(static_cast<std::size_t>(16 * sizes.in_channels * padded));
    for (std::int64_t c = 0; c < sizes.in_channels; ++c)
        for (std::int64_t o = 0; o < sizes.out_channels; ++o)
            for (int point = 0; point < 16; ++point) {
                double sum = 0.0;
                for (int tap = 0; tap < 9; ++tap)
                    sum += kG[point / 4][tap / 3] * kG[point % 4][tap % 3] * matrix.data()[(c * 9 + tap) * padded + o];
                points.data()[(point * sizes.in_channels + c) * padded + o] = static_cast<float>(sum);
            }
    return points;
}

}  // namespace sovs
