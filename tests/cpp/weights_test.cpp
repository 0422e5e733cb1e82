// Weights inside the library: their structure, their values and the forms that kernels read, which callers never see.
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "conv/conv2d.h"
#include "weights/conv_shape.h"
#include "weights/pack.h"
#include "weights/weights.h"

namespace {

using sovs::DType;

std::vector<float> numbers(std::int64_t count) {
    std::vector<float> made(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < made.size(); ++i) made[i] = static_cast<float>(i % 101) - 50.0f;
    return made;
}

std::vector<std::int8_t> bytes_of(const std::vector<float>& values) { return {values.begin(), values.end()}; }

std::shared_ptr<const sovs::Weights> dense_weights(std::int64_t out, std::int64_t in, std::int64_t kernel) {
    const std::vector<float> weight = numbers(out * in * kernel * kernel);
    return std::make_shared<sovs::Weights>(sovs::pack_dense({out, in, kernel, kernel, 1}, {DType::f32, weight.data()}),
                                           nullptr);
}

// Sparse weights as a caller holds them, of both types: every third place is stored, and some rows are empty.
struct Sparse {
    sovs::WeightSizes sizes;
    std::vector<std::int32_t> row_ptr{0}, indices;
    std::vector<float> values, scales;
    std::vector<std::int8_t> s8;

    explicit Sparse(const sovs::WeightSizes& wanted) : sizes(wanted) {
        for (std::int64_t row = 0; row < sizes.block_row_count(); ++row) {
            for (std::int64_t k = row % 3; row % 5 != 4 && k < sizes.columns(); k += 3)
                indices.push_back(static_cast<std::int32_t>(k));
            row_ptr.push_back(static_cast<std::int32_t>(indices.size()));
        }
        values = numbers(static_cast<std::int64_t>(indices.size()) * sizes.block.rows);
        s8 = bytes_of(values);
        for (std::int64_t out = 0; out < sizes.out_channels; ++out)
            scales.push_back(0.25f * static_cast<float>(out + 1));
    }
    sovs::TapMajorWeights as(const sovs::ValuesView& view) const {
        return {sizes, row_ptr.data(), indices.data(), 32, view};
    }
    sovs::PackedWeights f32() const { return sovs::pack_sparse(as({DType::f32, values.data()})); }
    sovs::PackedWeights as_s8() const { return sovs::pack_sparse(as({DType::s8, s8.data(), scales.data()})); }
};

bool same(const sovs::PackedWeights& a, const sovs::PackedWeights& b) {
    const auto numbers = [](const sovs::PackedWeights& p) {
        return std::vector<std::int8_t>(p.values.s8().begin(), p.values.s8().end());
    };
    return a.structure.keys == b.structure.keys && a.structure.row_ptr == b.structure.row_ptr &&
           numbers(a) == numbers(b) && a.values.scales() == b.values.scales();
}

std::vector<float> unpacked(const sovs::PackedWeights& packed) {
    std::vector<float> dense(
        static_cast<std::size_t>(packed.structure.sizes.out_channels * packed.structure.sizes.columns()));
    sovs::unpack(packed, dense.data());
    return dense;
}

// The message of the InvalidArgument that the body throws; "" where it throws none.
template <typename Body>
std::string refusal(Body&& body) {
    try {
        body();
    } catch (const sovs::InvalidArgument& error) {
        return error.what();
    }
    return "";
}

bool refused(const std::string& message, const std::string& wanted) {
    return CHECK_SAYING(message.find(wanted) != std::string::npos,
                        "expected \"" + wanted + "\" in \"" + message + "\"");
}

constexpr const char* kNoKernel = "expected float32 weights, got s8: no kernel of this version reads them";

sovs::StreamLayout layout_of(const sovs::WeightSizes& w, std::int64_t k_tile, int parts) {
    const sovs::ConvShape shape{w.out_channels, w.in_channels,  w.kernel_h, w.kernel_w, w.groups, 1, 1,
                                w.kernel_h / 2, w.kernel_w / 2, 1,          1};
    return {sovs::PanelLayout(shape, sovs::PanelKind::halo, 2, 7, 8), k_tile, parts};
}

}  // namespace

TEST(number_types_have_a_size_and_a_name) {
    struct Case {
        DType type;
        std::size_t size;
        const char* name;
    };
    for (const Case& c : {Case{DType::f32, 4, "f32"},
                          {DType::u8, 1, "u8"},
                          {DType::s8, 1, "s8"},
                          {DType::s32, 4, "s32"},
                          {DType::bf16, 2, "bf16"},
                          {static_cast<DType>(99), 0, "unknown"}})
        CHECK(sovs::size_of(c.type) == c.size && std::strcmp(sovs::name_of(c.type), c.name) == 0);
}

TEST(dense_forms_of_two_paddings_are_kept_apart) {
    constexpr std::int64_t kOut = 18, kIn = 5;
    const auto weights = dense_weights(kOut, kIn, 3);
    const std::vector<float> weight = numbers(kOut * kIn * 9);
    const auto narrow = weights->dense(32), wide = weights->dense(64), again = weights->dense(32);
    CHECK(narrow == again);
    CHECK(narrow->bytes() == 32 * kIn * 9 * sizeof(float) && wide->bytes() == 64 * kIn * 9 * sizeof(float));
    bool right = wide->bytes() == 64 * kIn * 9 * sizeof(float);
    for (std::int64_t k = 0; right && k < kIn * 9; ++k)
        for (std::int64_t o = 0; o < 64; ++o)
            right &= wide->data()[k * 64 + o] == (o < kOut ? weight[o * kIn * 9 + k] : 0.0f);
    CHECK(right);
}

TEST(winograd_forms_of_two_paddings_are_kept_apart) {
    constexpr std::int64_t kOut = 18, kIn = 16;
    const auto weights = dense_weights(kOut, kIn, 3);
    const auto narrow = weights->winograd(32), wide = weights->winograd(64), again = weights->winograd(32);
    CHECK(narrow == again);
    bool right = wide->bytes() == 64 * kIn * 16 * sizeof(float);
    for (std::int64_t k = 0; right && k < kIn * 16; ++k)
        for (std::int64_t o = 0; o < 64; ++o)
            right &= wide->data()[k * 64 + o] == (o < kOut ? narrow->data()[k * 32 + o] : 0.0f);
    CHECK(right);
}

TEST(forms_live_as_long_as_someone_uses_them) {
    const auto weights = dense_weights(18, 16, 3);
    const std::size_t alone = weights->bytes();
    {
        const auto matrix = weights->dense(32);
        const auto points = weights->winograd(32);
        const auto stream = weights->stream(layout_of(weights->sizes(), 4, 1));
        CHECK(weights->bytes() == alone + matrix->bytes() + points->bytes() + stream->bytes());
        CHECK(weights->live().size() == 1);
    }
    CHECK(weights->bytes() == alone && weights->live().empty());
}

TEST(threads_that_ask_for_a_form_at_once_share_one) {
    const auto weights = dense_weights(64, 32, 3);
    constexpr int kThreads = 4;
    std::vector<std::shared_ptr<const void>> dense(kThreads), points(kThreads), streams(kThreads);
    std::vector<std::thread> callers;
    for (int t = 0; t < kThreads; ++t)
        callers.emplace_back([&, t] {
            streams[t] = weights->stream(layout_of(weights->sizes(), 16, 2));
            points[t] = weights->winograd(64);
            dense[t] = weights->dense(64);
        });
    for (std::thread& caller : callers) caller.join();
    for (int t = 1; t < kThreads; ++t)
        CHECK(dense[t] == dense[0] && points[t] == points[0] && streams[t] == streams[0]);
}

TEST(positions_tell_where_a_stream_holds_each_block) {
    for (const std::int64_t block_rows : {1, 4})
        for (const std::int64_t groups : {1, 2})
            for (const std::int64_t k_tile : {1, 3, 7})
                for (const int parts : {1, 2, 5}) {
                    const Sparse sparse({groups * 20, 7, 3, 3, groups, {block_rows, 1}});
                    const sovs::PackedWeights packed = sparse.f32();
                    const sovs::StreamLayout layout = layout_of(sparse.sizes, k_tile, parts);
                    const sovs::Stream stream = sovs::expand_stream(packed, layout);
                    const std::vector<std::int32_t> positions = sovs::stream_positions(packed.structure, layout);
                    bool right = positions.size() == packed.structure.keys.size();
                    for (std::size_t b = 0; right && b < positions.size(); ++b)
                        for (std::int64_t r = 0; r < block_rows; ++r) {
                            const float held = block_rows == 4 ? stream.weights.data()[positions[b] * 4 + r]
                                                               : stream.entries.data()[positions[b]].weight;
                            right &= held == packed.values.f32()[b * block_rows + r];
                        }
                    CHECK(right);
                }
}

TEST(blocks_that_no_kernel_reads_are_refused) {
    for (const sovs::BlockShape block : {sovs::BlockShape{3, 1}, {1, 4}, {4, 4}, {0, 1}, {4, 0}, {-4, 1}}) {
        const std::string got = std::to_string(block.rows) + "x" + std::to_string(block.cols);
        refused(refusal([&] { sovs::check_sizes({8, 8, 1, 1, 1, block}); }),
                "expected blocks of 1x1, 2x1 or 4x1 weights");
        refused(refusal([&] { sovs::check_sizes({8, 8, 1, 1, 1, block}); }), "got " + got);
    }
    CHECK(refusal([] { sovs::check_sizes({8, 8, 1, 1, 1, {4, 1}}); }).empty());
}

TEST(blocks_of_two_rows_are_for_s8_weights) {
    const Sparse sparse({8, 7, 1, 1, 1, {2, 1}});
    CHECK(sparse.as_s8().structure.sizes.block.rows == 2);
    refused(refusal([&] { sovs::pack_sparse(sparse.as({DType::f32, sparse.values.data()})); }),
            "expected s8 weights in blocks of 2x1");
}

TEST(s8_weights_are_packed_as_float32_ones_in_a_fraction_of_the_bytes) {
    for (const std::int64_t block_rows : {1, 4}) {
        const Sparse sparse({18, 7, 3, 3, 1, {block_rows, 1}});
        const sovs::PackedWeights f32 = sparse.f32(), s8 = sparse.as_s8();
        CHECK(s8.structure.keys == f32.structure.keys && s8.structure.row_ptr == f32.structure.row_ptr);
        CHECK(s8.values.dtype() == DType::s8 && s8.values.size() == f32.values.size() &&
              s8.values.scales() == sparse.scales);
        CHECK(bytes_of({f32.values.f32().begin(), f32.values.f32().end()}) ==
              std::vector<std::int8_t>(s8.values.s8().begin(), s8.values.s8().end()));
        CHECK(s8.bytes() == f32.bytes() - 3 * s8.values.size() + 18 * sizeof(float));

        const sovs::Weights weights(s8, nullptr);
        CHECK(weights.dtype() == DType::s8 && weights.packed_bytes() == s8.bytes() + (18 + 32) * sizeof(float));
        CHECK(weights.bytes() == weights.packed_bytes() && weights.density() == sovs::Weights(f32, nullptr).density());
    }
}

TEST(s8_weights_unpack_to_numbers_times_their_channels_scale) {
    const std::int64_t out = 18, columns = 7 * 9;
    const std::vector<float> weight = numbers(out * columns);
    const std::vector<std::int8_t> s8 = bytes_of(weight);
    for (const std::int64_t block_rows : {1, 4}) {
        const Sparse sparse({out, 7, 3, 3, 1, {block_rows, 1}});
        const std::vector<float> plain = unpacked(sparse.f32()), scaled = unpacked(sparse.as_s8());
        bool right = true;
        for (std::int64_t i = 0; i < out * columns; ++i) right &= scaled[i] == plain[i] * sparse.scales[i / columns];
        CHECK(right);
        const auto dense = unpacked(sovs::pack_dense({out, 7, 3, 3, 1}, {DType::s8, s8.data(), sparse.scales.data()}));
        for (std::int64_t i = 0; i < out * columns; ++i) right &= dense[i] == weight[i] * sparse.scales[i / columns];
        CHECK(right);
    }
}

TEST(an_int8_stream_is_packed_again_to_the_bit) {
    for (const std::int64_t block_rows : {1, 2, 4})
        for (const std::int64_t groups : {1, 2}) {
            Sparse sparse({groups * 20, 7, 3, 3, groups, {block_rows, 1}});
            // Zeros too, and numbers of which many pairs do not fit in 16 bits.
            for (std::size_t i = 0; i < sparse.s8.size(); ++i)
                sparse.s8[i] = static_cast<std::int8_t>(i * i % 256 - 128);
            const sovs::PackedWeights packed = sparse.as_s8();
            for (const std::int64_t column_lines : {1, 5})
                for (const int parts : {1, 3})
                    for (const bool pairs : {false, true}) {
                        const sovs::ByteStream stream = sovs::make_byte_stream(packed, {column_lines, parts, pairs});
                        CHECK(same(sovs::pack_byte_stream(stream, sparse.sizes, sparse.scales.data()), packed));
                    }
        }
}

TEST(s8_weights_whose_compact_copy_is_dropped_are_held_in_their_first_stream_alone) {
    const Sparse sparse({18, 7, 3, 3, 1, {2, 1}});
    const sovs::PackedWeights packed = sparse.as_s8();
    const sovs::Weights weights(packed, nullptr);
    weights.drop_packed();
    CHECK(weights.packed_bytes() == packed.bytes() + (18 + 32) * sizeof(float));
    const auto stream = weights.byte_stream({2, 1, false});
    CHECK(weights.packed_bytes() == (18 + 32) * sizeof(float));
    CHECK(weights.bytes() == weights.packed_bytes() + stream->bytes());
    CHECK(same(*weights.packed(), packed) && weights.scales() == sparse.scales);
    const auto other = weights.byte_stream({3, 2, true});
    CHECK(same(sovs::pack_byte_stream(*other, sparse.sizes, sparse.scales.data()), packed));
}

TEST(forms_for_float32_kernels_refuse_s8_weights) {
    const Sparse sparse({18, 16, 3, 3, 1});
    const sovs::Weights weights(sparse.as_s8(), nullptr);
    refused(refusal([&] { weights.stream(layout_of(sparse.sizes, 4, 1)); }), kNoKernel);
    refused(refusal([&] { weights.dense(32); }), kNoKernel);
    refused(refusal([&] { weights.winograd(32); }), kNoKernel);
    refused(refusal([&] { sovs::Weights::transposed(weights); }), kNoKernel);
    refused(refusal([&] { weights.update(numbers(18 * 16 * 9).data(), nullptr, 1); }), kNoKernel);
    CHECK(weights.live().empty() && weights.bytes() == weights.packed_bytes());
}

TEST(plans_refuse_s8_weights_whatever_kernel_would_run_them) {
    struct Case {
        std::int64_t in_channels, groups;
        bool dense;
    };
    for (const Case& c : {Case{16, 1, false}, {16, 1, true}, {1, 16, false}, {1, 16, true}}) {
        const Sparse sparse({16, c.in_channels, 3, 3, c.groups});
        const std::vector<std::int8_t> all = bytes_of(numbers(16 * c.in_channels * 9));
        const auto weights = std::make_shared<sovs::Weights>(
            c.dense ? sovs::pack_dense(sparse.sizes, {DType::s8, all.data(), sparse.scales.data()}) : sparse.as_s8(),
            nullptr);
        const sovs::Conv2d conv(weights, {1, 1, 1, 1, 1, 1, sovs::Activation::none}, {}, false);
        const sovs::StepPlace place{{{1, 16, 8, 8, 64}}, {1, 16, 8, 8, 64}, false, true};
        refused(refusal([&] { conv.make(place, 1); }), kNoKernel);
    }
}

TEST(values_of_other_types_or_with_wrong_scales_are_refused) {
    const Sparse sparse({4, 7, 1, 1, 1});
    const auto pack = [&](const sovs::ValuesView& view) {
        return refusal([&] { sovs::pack_sparse(sparse.as(view)); });
    };
    refused(pack({DType::u8, sparse.s8.data()}), "expected float32 or s8 weights, got u8");
    refused(pack({static_cast<DType>(99), sparse.s8.data()}), "expected float32 or s8 weights, got unknown");
    refused(pack({DType::s8, sparse.s8.data()}), "expected scales with s8 weights, and with no others");
    refused(pack({DType::f32, sparse.values.data(), sparse.scales.data()}),
            "expected scales with s8 weights, and with no others");
    for (const float wrong : {-1.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        std::vector<float> scales = sparse.scales;
        scales[2] = wrong;
        refused(pack({DType::s8, sparse.s8.data(), scales.data()}), "expected finite scales of at least 0");
    }
    refused(refusal([&] { sparse.f32().values.s8(); }), "expected s8 weights, got float32");
}

TEST(an_output_has_a_pixel_for_each_place_of_the_kernel_that_fits) {
    for (std::int64_t side = 1; side < 9; ++side)
        for (std::int64_t kernel = 1; kernel < 6; ++kernel)
            for (std::int64_t stride = 1; stride < 5; ++stride)
                for (std::int64_t pad = 0; pad < 3; ++pad)
                    for (std::int64_t dilation = 1; dilation < 4; ++dilation) {
                        std::int64_t places = 0;
                        for (std::int64_t at = -pad; at + (kernel - 1) * dilation < side + pad; at += stride) ++places;
                        CHECK(sovs::conv_out_size(side, kernel, stride, pad, dilation) == places);
                    }
}
