// Deformable attention against double precision, for heads below, at and above the vector width.
#include <array>
#include <limits>
#include <string>

#include "problem.h"

namespace {

struct Attention {
    std::int64_t n = 1, queries = 7, heads = 2, depth = 8, points = 3;
    std::vector<std::array<std::int64_t, 2>> shapes{{3, 5}, {1, 4}, {6, 2}};
    std::vector<float> values, locations, weights;

    std::int64_t cells() const {
        std::int64_t sum = 0;
        for (const auto& s : shapes) sum += s[0] * s[1];
        return sum;
    }
    std::int64_t samples() const { return static_cast<std::int64_t>(shapes.size()) * points; }

    // Locations lie inside, at borders and outside.
    void fill(unsigned seed) {
        std::mt19937 generator(seed);
        std::uniform_real_distribution<float> unit(-1.0f, 1.0f), place(-0.5f, 1.5f);
        values.resize(n * cells() * heads * depth);
        weights.resize(n * queries * heads * samples());
        locations.resize(weights.size() * 2);
        for (float& v : values) v = unit(generator);
        for (float& v : weights) v = unit(generator);
        for (float& v : locations)
            v = generator() % 4 == 0 ? static_cast<float>(generator() % 3) * 0.5f : place(generator);
    }

    std::vector<float> run(int threads) const {
        std::vector<float> out(n * queries * heads * depth, -77.0f);
        const sovs_deformable_params params{
            sizeof params,   n, queries, heads, depth, static_cast<std::int64_t>(shapes.size()), points,
            shapes[0].data()};
        CHECK_SAYING(sovs_deformable_attention(&params, values.data(), locations.data(), weights.data(), out.data(),
                                               threads) == SOVS_OK,
                     sovs_last_error());
        return out;
    }

    double exact(std::int64_t image, std::int64_t query, std::int64_t head, std::int64_t d) const {
        double sum = 0.0;
        std::int64_t first = 0, sample = ((image * queries + query) * heads + head) * samples();
        for (const auto& [h, w] : shapes) {
            for (std::int64_t p = 0; p < points; ++p, ++sample) {
                const double x = static_cast<double>(locations[2 * sample]) * static_cast<double>(w) - 0.5;
                const double y = static_cast<double>(locations[2 * sample + 1]) * static_cast<double>(h) - 0.5;
                for (std::int64_t row = 0; row < h; ++row)
                    for (std::int64_t column = 0; column < w; ++column) {
                        const double near = std::fmax(0.0, 1.0 - std::fabs(x - static_cast<double>(column))) *
                                            std::fmax(0.0, 1.0 - std::fabs(y - static_cast<double>(row)));
                        const std::int64_t cell = image * cells() + first + row * w + column;
                        sum += near * weights[sample] * values[(cell * heads + head) * depth + d];
                    }
            }
            first += h * w;
        }
        return sum;
    }
};

}  // namespace

TEST(deformable_attention_matches_double_precision) {
    for (const std::int64_t depth : {1, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 70}) {
        Attention a;
        a.n = 2;
        a.depth = depth;
        a.fill(static_cast<unsigned>(depth));
        const std::vector<float> out = a.run(1);
        std::int64_t at = 0;
        for (std::int64_t i = 0; i < a.n; ++i)
            for (std::int64_t q = 0; q < a.queries; ++q)
                for (std::int64_t h = 0; h < a.heads; ++h)
                    for (std::int64_t d = 0; d < depth; ++d, ++at)
                        CHECK_SAYING(std::fabs(out[at] - a.exact(i, q, h, d)) <= 1e-5,
                                     "depth " + std::to_string(depth) + " at " + std::to_string(at));
    }
}

TEST(deformable_attention_is_the_same_on_any_number_of_threads) {
    Attention a;
    a.queries = 200;
    a.fill(5);
    CHECK(a.run(1) == a.run(3));
}

TEST(deformable_attention_reads_nothing_at_far_or_undefined_locations) {
    Attention a;
    a.queries = a.heads = a.points = 1;
    a.shapes = {{3, 5}};
    a.fill(6);
    constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
    for (const float far : {1e5f, -1e5f, 3e9f, -3e9f, 1e30f, -1e30f}) {
        a.locations = {far, 0.5f};
        CHECK(a.run(1) == std::vector<float>(a.depth, 0.0f));
        a.locations = {0.5f, far};
        CHECK(a.run(1) == std::vector<float>(a.depth, 0.0f));
    }
    for (const float nowhere : {kInf, -kInf, kNan}) {
        a.locations = {0.5f, nowhere};
        for (const float v : a.run(1)) CHECK(std::isnan(v));
        a.locations = {nowhere, 0.5f};
        for (const float v : a.run(1)) CHECK(std::isnan(v));
    }
}

TEST(deformable_attention_leaves_cells_alone_that_no_point_is_near) {
    Attention a;
    a.queries = a.heads = a.points = 1;
    a.shapes = {{2, 4}};
    a.fill(7);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (std::int64_t cell = 0; cell < 8; ++cell)
        if (cell % 4 != 0) std::fill_n(a.values.begin() + cell * a.depth, a.depth, nan);
    a.locations = {0.0f, 0.5f};  // left of the first column's centres
    for (const float v : a.run(1)) CHECK(std::isfinite(v));
}

TEST(deformable_attention_of_many_queries_matches_double_precision) {
    Attention a;
    a.n = 2;
    a.queries = 600;  // cells are moved, and units and batches cut
    a.fill(8);
    const std::vector<float> out = a.run(2);
    std::int64_t at = 0;
    for (std::int64_t i = 0; i < a.n; ++i)
        for (std::int64_t q = 0; q < a.queries; ++q)
            for (std::int64_t h = 0; h < a.heads; ++h)
                for (std::int64_t d = 0; d < a.depth; ++d, ++at)
                    CHECK_SAYING(std::fabs(out[at] - a.exact(i, q, h, d)) <= 1e-5, "at " + std::to_string(at));
}

TEST(deformable_attention_keeps_an_infinity_at_a_border) {
    Attention a;
    a.queries = a.heads = a.points = 1;
    a.shapes = {{2, 4}};
    a.fill(9);
    constexpr float kInf = std::numeric_limits<float>::infinity();
    a.values.assign(a.values.size(), kInf);
    a.weights = {0.5f};
    for (const float x : {0.01f, 0.99f}) {  // beyond the outer columns' centres
        a.locations = {x, 0.4f};
        for (const float v : a.run(1)) CHECK(v == kInf);
        a.locations = {0.4f, x};
        for (const float v : a.run(1)) CHECK(v == kInf);
    }
}

TEST(deformable_attention_around_is_that_at_the_places_it_says) {
    Attention a;
    a.n = 2;
    a.queries = 70;
    a.points = 7;  // 21 samples: cut vectors
    a.fill(10);
    const std::int64_t levels = static_cast<std::int64_t>(a.shapes.size()), rows = a.n * a.queries * a.heads;
    std::vector<float> references(a.queries * levels * 2), offsets(a.locations.size()), logits = a.weights;
    std::mt19937 generator(11);
    std::uniform_real_distribution<float> place(0.0f, 1.0f), offset(-2.0f, 2.0f);
    for (float& v : references) v = place(generator);
    for (float& v : offsets) v = offset(generator);
    for (std::int64_t row = 0, at = 0; row < rows; ++row) {
        const std::int64_t query = row / a.heads % a.queries;
        double total = 0.0;
        for (std::int64_t i = 0; i < a.samples(); ++i) total += std::exp(static_cast<double>(logits[at + i]));
        for (std::int64_t i = 0; i < a.samples(); ++i, ++at) {
            const std::int64_t level = i / a.points;
            for (int axis = 0; axis < 2; ++axis)
                a.locations[2 * at + axis] = static_cast<float>(
                    static_cast<double>(references[(query * levels + level) * 2 + axis]) +
                    static_cast<double>(offsets[2 * at + axis]) / static_cast<double>(a.shapes[level][1 - axis]));
            a.weights[at] = static_cast<float>(std::exp(static_cast<double>(logits[at])) / total);
        }
    }
    const std::vector<float> expected = a.run(1);
    std::vector<float> out(expected.size());
    const sovs_deformable_params params{sizeof params, a.n,    a.queries, a.heads,
                                        a.depth,       levels, a.points,  a.shapes[0].data()};
    CHECK(sovs_deformable_attention_around(&params, a.values.data(), 1, references.data(), offsets.data(),
                                           logits.data(), out.data(), 1) == SOVS_OK);
    for (std::size_t i = 0; i < out.size(); ++i)
        CHECK_SAYING(std::fabs(out[i] - expected[i]) <= 1e-5, "at " + std::to_string(i));
}

TEST(deformable_attention_refuses_what_it_cannot_use) {
    const std::int64_t shapes[] = {2, 2}, empty[] = {0, 2}, huge[] = {1 << 10, 1 << 10};
    float one[64] = {};
    constexpr std::size_t kSize = sizeof(sovs_deformable_params);
    const auto run = [&](const sovs_deformable_params& p) {
        return sovs_deformable_attention(&p, one, one, one, one, 1);
    };
    CHECK(run({kSize, 1, 1, 1, 1, 1, 1, shapes}) == SOVS_OK);
    CHECK(run({kSize, 0, 1, 1, 1, 1, 1, shapes}) == SOVS_INVALID_ARGUMENT);
    CHECK(run({kSize, 1, 1, 1, 0, 1, 1, shapes}) == SOVS_INVALID_ARGUMENT);
    CHECK(run({kSize, 1, 1, 1, 1, 0, 1, shapes}) == SOVS_INVALID_ARGUMENT);
    CHECK(run({kSize, 1, 1, 1, 1, 1, 1, nullptr}) == SOVS_INVALID_ARGUMENT);
    CHECK(run({kSize, 1, 1, 1, 1, 1, 1, empty}) == SOVS_INVALID_ARGUMENT);
    CHECK(run({kSize, 1, 1, 8, 32, 1, 1, huge}) == SOVS_INVALID_ARGUMENT);
    const sovs_deformable_params params{kSize, 1, 1, 1, 1, 1, 1, shapes};
    CHECK(sovs_deformable_attention(&params, one, nullptr, one, one, 1) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_deformable_attention(nullptr, one, one, one, one, 1) == SOVS_INVALID_ARGUMENT);
}
