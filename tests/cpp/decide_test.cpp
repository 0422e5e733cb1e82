// One class a pixel against double precision, for grids and images of any size, and classes that fill no strip.
#include <string>

#include "problem.h"

namespace {

double at(const std::vector<float>& grid, std::int64_t h, std::int64_t w, std::int64_t k, std::int64_t y, std::int64_t x,
          std::int64_t height, std::int64_t width) {
    const auto place = [](std::int64_t i, std::int64_t cells, std::int64_t pixels) {
        return std::clamp((i + 0.5) * static_cast<double>(cells) / static_cast<double>(pixels) - 0.5, 0.0,
                          static_cast<double>(cells - 1));
    };
    const double down = place(y, h, height), across = place(x, w, width);
    double sum = 0.0;
    for (std::int64_t r = 0; r < h; ++r)
        for (std::int64_t c = 0; c < w; ++c)
            sum += std::max(0.0, 1.0 - std::fabs(down - static_cast<double>(r))) *
                   std::max(0.0, 1.0 - std::fabs(across - static_cast<double>(c))) *
                   grid[static_cast<std::size_t>((k * h + r) * w + c)];
    return sum;
}

struct Case {
    std::int64_t classes, grid_h, grid_w, h, w;
};

}  // namespace

TEST(decide_matches_double_precision) {
    const Case cases[] = {{1, 1, 1, 1, 1}, {3, 2, 3, 8, 12}, {5, 4, 5, 17, 19}, {2, 9, 7, 4, 3}, {20, 5, 16, 20, 70}, {9000, 2, 3, 3, 40}};
    for (const Case& s : cases)
        for (const int logits : {0, 1})
            for (const int threads : {1, 3}) {
                std::mt19937 generator(7);
                std::normal_distribution<float> numbers(0.0f, 2.0f);
                std::vector<float> grid(static_cast<std::size_t>(s.classes * s.grid_h * s.grid_w));
                for (float& v : grid) v = numbers(generator);
                const auto pixels = static_cast<std::size_t>(s.h * s.w);
                std::vector<std::int64_t> labels(pixels, -5), alone(pixels, -5);
                std::vector<float> confidence(pixels), scores(pixels * static_cast<std::size_t>(s.classes));
                CHECK(sovs_decide(s.classes, s.grid_h, s.grid_w, grid.data(), s.h, s.w, logits, labels.data(),
                                  confidence.data(), scores.data(), threads) == SOVS_OK);
                CHECK(sovs_decide(s.classes, s.grid_h, s.grid_w, grid.data(), s.h, s.w, logits, alone.data(), nullptr, nullptr,
                                  1) == SOVS_OK);
                CHECK(alone == labels);
                for (std::int64_t y = 0; y < s.h; ++y)
                    for (std::int64_t x = 0; x < s.w; ++x) {
                        std::vector<double> values;
                        for (std::int64_t k = 0; k < s.classes; ++k)
                            values.push_back(at(grid, s.grid_h, s.grid_w, k, y, x, s.h, s.w));
                        const double top = *std::max_element(values.begin(), values.end());
                        const auto p = static_cast<std::size_t>(y * s.w + x);
                        const auto label = static_cast<std::size_t>(labels[p]);
                        CHECK(label < values.size());
                        CHECK(values[label] >= top - 1e-5);
                        double total = 0.0;
                        for (const double v : values) total += std::exp(v - top);
                        for (std::size_t k = 0; k < values.size(); ++k) {
                            const double expected = logits ? std::exp(values[k] - top) / total : values[k];
                            CHECK(std::fabs(scores[k * pixels + p] - expected) <= 1e-5 * (1.0 + std::fabs(expected)));
                        }
                        CHECK(std::fabs(confidence[p] - scores[label * pixels + p]) <= 1e-6 * (1.0f + std::fabs(confidence[p])));
                    }
            }
}

TEST(the_first_of_equal_classes_is_decided) {
    const std::vector<float> grid(5 * 4, 0.25f);
    std::vector<std::int64_t> labels(6 * 7, -5);
    CHECK(sovs_decide(5, 2, 2, grid.data(), 6, 7, 1, labels.data(), nullptr, nullptr, 2) == SOVS_OK);
    for (const std::int64_t label : labels) CHECK(label == 0);
}

TEST(decide_refuses_nothing_to_decide) {
    const float grid = 0.0f;
    std::int64_t label = 0;
    CHECK(sovs_decide(0, 1, 1, &grid, 1, 1, 1, &label, nullptr, nullptr, 1) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_decide(1, 1, 1, nullptr, 1, 1, 1, &label, nullptr, nullptr, 1) == SOVS_INVALID_ARGUMENT);
}
