// One class a pixel against double precision, for grids and images of any size, and classes that fill no strip.
#include <string>

#include "problem.h"

namespace {

// Pixel (y, x) of (height, width) that lie over covered_h x covered_w of the cells.
double at(const std::vector<float>& grid, std::int64_t h, std::int64_t w, std::int64_t k, std::int64_t y,
          std::int64_t x, std::int64_t height, std::int64_t width, double covered_h, double covered_w) {
    const auto place = [](std::int64_t i, std::int64_t cells, std::int64_t pixels, double covered) {
        return std::clamp((i + 0.5) * covered / static_cast<double>(pixels) - 0.5, 0.0, static_cast<double>(cells - 1));
    };
    const double down = place(y, h, height, covered_h), across = place(x, w, width, covered_w);
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
    double covered_h = static_cast<double>(grid_h), covered_w = static_cast<double>(grid_w);
};

}  // namespace

TEST(decide_matches_double_precision) {
    const Case cases[] = {{1, 1, 1, 1, 1},     {3, 2, 3, 8, 12},    {5, 4, 5, 17, 19},           {2, 9, 7, 4, 3},
                          {20, 5, 16, 20, 70}, {9000, 2, 3, 3, 40}, {4, 3, 5, 11, 37, 2.25, 4.5}};
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
                CHECK(sovs_decide(s.classes, s.grid_h, s.grid_w, grid.data(), s.covered_h, s.covered_w, s.h, s.w,
                                  logits, labels.data(), confidence.data(), scores.data(), threads) == SOVS_OK);
                CHECK(sovs_decide(s.classes, s.grid_h, s.grid_w, grid.data(), s.covered_h, s.covered_w, s.h, s.w,
                                  logits, alone.data(), nullptr, nullptr, 1) == SOVS_OK);
                CHECK(alone == labels);
                for (std::int64_t y = 0; y < s.h; ++y)
                    for (std::int64_t x = 0; x < s.w; ++x) {
                        std::vector<double> values;
                        for (std::int64_t k = 0; k < s.classes; ++k)
                            values.push_back(at(grid, s.grid_h, s.grid_w, k, y, x, s.h, s.w, s.covered_h, s.covered_w));
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
                        CHECK(std::fabs(confidence[p] - scores[label * pixels + p]) <=
                              1e-6 * (1.0f + std::fabs(confidence[p])));
                    }
            }
}

TEST(the_first_of_equal_classes_is_decided) {
    const std::vector<float> grid(5 * 4, 0.25f);
    std::vector<std::int64_t> labels(6 * 7, -5);
    CHECK(sovs_decide(5, 2, 2, grid.data(), 2, 2, 6, 7, 1, labels.data(), nullptr, nullptr, 2) == SOVS_OK);
    for (const std::int64_t label : labels) CHECK(label == 0);
}

namespace {

struct Masks {
    std::vector<float> probabilities, logits;
    sovs_mask_window window;

    Masks(std::int64_t queries, std::int64_t classes, std::int64_t grid_h, std::int64_t grid_w, std::int64_t top,
          std::int64_t left, std::int64_t h, std::int64_t w, unsigned seed)
        : probabilities(static_cast<std::size_t>(queries * classes)),
          logits(static_cast<std::size_t>(queries * grid_h * grid_w)) {
        std::mt19937 generator(seed);
        std::normal_distribution<float> numbers(0.0f, 4.0f);
        for (float& v : logits) v = numbers(generator);
        for (float& v : probabilities) v = std::fabs(numbers(generator)) / static_cast<float>(4 * queries);
        window = {sizeof window, top, left, h, w, queries, grid_h, grid_w, logits.data(), probabilities.data()};
    }

    double logit(std::int64_t q, std::int64_t y, std::int64_t x) const {  // y, x: of the input, inside the window
        const auto gh = static_cast<double>(window.grid_h), gw = static_cast<double>(window.grid_w);
        return at(logits, window.grid_h, window.grid_w, q, y - window.top, x - window.left, window.h, window.w, gh, gw);
    }

    bool covers(std::int64_t y, std::int64_t x) const {
        return y >= window.top && y < window.top + window.h && x >= window.left && x < window.left + window.w;
    }
};

// Scores (classes, input_h, input_w) at the input, or the logits of the first window's queries.
std::vector<float> at_input(const std::vector<Masks>& given, std::int64_t planes, std::int64_t classes, std::int64_t h,
                            std::int64_t w, bool of_logits) {
    std::vector<float> made(static_cast<std::size_t>(planes * h * w));
    for (std::int64_t p = 0; p < planes; ++p)
        for (std::int64_t y = 0; y < h; ++y)
            for (std::int64_t x = 0; x < w; ++x) {
                double total = 0.0, count = 0.0;
                for (const Masks& masks : given) {
                    if (!masks.covers(y, x)) continue;
                    count += 1.0;
                    if (of_logits) total += masks.logit(p, y, x);
                    for (std::int64_t q = 0; q < masks.window.queries && !of_logits; ++q)
                        total += static_cast<double>(masks.probabilities[static_cast<std::size_t>(q * classes + p)]) /
                                 (1.0 + std::exp(-masks.logit(q, y, x)));
                }
                made[static_cast<std::size_t>((p * h + y) * w + x)] = static_cast<float>(total / count);
            }
    return made;
}

}  // namespace

TEST(decide_masks_matches_double_precision) {
    // Input of 37 x 53 pixels, of which the image fills 33 x 45; more classes than a vector, more queries than a block.
    const std::int64_t input_h = 33, input_w = 45, classes = 37, queries = 9, h = 21, w = 150;
    for (const int kind : {0, 1, 2}) {  // at the input, at the image, four windows that overlap
        std::vector<Masks> given;
        if (kind < 2) given.emplace_back(queries, classes, 5, 7, 0, 0, 37, 53, 3u);
        for (unsigned i = 0; i < 4 && kind == 2; ++i)
            given.emplace_back(queries, classes, 3, 4, i / 2 * 13, i % 2 * 21, 24, 32, i);
        std::vector<sovs_mask_window> windows;
        for (const Masks& masks : given) windows.push_back(masks.window);
        const auto pixels = static_cast<std::size_t>(h * w);
        std::vector<std::int64_t> labels(pixels, -5), alone(pixels, -5);
        std::vector<float> confidence(pixels), scores(pixels * static_cast<std::size_t>(classes));
        const auto count = static_cast<std::int32_t>(windows.size());
        CHECK(sovs_decide_masks(windows.data(), count, classes, input_h, input_w, kind == 1, h, w, labels.data(),
                                confidence.data(), scores.data(), 3) == SOVS_OK);
        CHECK(sovs_decide_masks(windows.data(), count, classes, input_h, input_w, kind == 1, h, w, alone.data(),
                                nullptr, nullptr, 1) == SOVS_OK);
        CHECK(alone == labels);
        const std::int64_t planes = kind == 1 ? queries : classes;
        const std::vector<float> coarse = at_input(given, planes, classes, input_h, input_w, kind == 1);
        for (std::int64_t y = 0; y < h; ++y)
            for (std::int64_t x = 0; x < w; ++x) {
                std::vector<double> values(static_cast<std::size_t>(classes));
                for (std::int64_t p = 0; p < planes; ++p) {
                    const double value = at(coarse, input_h, input_w, p, y, x, h, w, static_cast<double>(input_h),
                                            static_cast<double>(input_w));
                    if (kind != 1) values[static_cast<std::size_t>(p)] = value;
                    for (std::int64_t k = 0; k < classes && kind == 1; ++k)
                        values[static_cast<std::size_t>(k)] +=
                            static_cast<double>(given[0].probabilities[static_cast<std::size_t>(p * classes + k)]) /
                            (1.0 + std::exp(-value));
                }
                const auto at_pixel = static_cast<std::size_t>(y * w + x);
                const auto label = static_cast<std::size_t>(labels[at_pixel]);
                CHECK(label < values.size());
                CHECK(values[label] >= *std::max_element(values.begin(), values.end()) - 1e-5);
                for (std::size_t k = 0; k < values.size(); ++k)
                    CHECK(std::fabs(scores[k * pixels + at_pixel] - values[k]) <= 1e-5);
                CHECK(confidence[at_pixel] == scores[label * pixels + at_pixel]);
            }
    }
}

TEST(decide_masks_refuses_what_is_no_window) {
    const float number = 0.0f;
    std::int64_t label = 0;
    const auto status = [&](sovs_mask_window window, int at_image) {
        return sovs_decide_masks(&window, 1, 1, 2, 2, at_image, 1, 1, &label, nullptr, nullptr, 1);
    };
    CHECK(status({sizeof(sovs_mask_window), 0, 0, 2, 2, 1, 1, 1, &number, &number}, 1) == SOVS_OK);
    CHECK(status({sizeof(sovs_mask_window), 0, 0, 2, 2, 1, 1, 1, nullptr, &number}, 0) == SOVS_INVALID_ARGUMENT);
    CHECK(status({sizeof(sovs_mask_window), 0, 0, 2, 2, 0, 1, 1, &number, &number}, 0) == SOVS_INVALID_ARGUMENT);
    CHECK(status({sizeof(sovs_mask_window), -1, 0, 2, 2, 1, 1, 1, &number, &number}, 0) == SOVS_INVALID_ARGUMENT);
    CHECK(status({sizeof(sovs_mask_window), 0, 0, 1, 2, 1, 1, 1, &number, &number}, 1) ==
          SOVS_INVALID_ARGUMENT);  // the image is higher
    CHECK(sovs_decide_masks(nullptr, 0, 1, 2, 2, 0, 1, 1, &label, nullptr, nullptr, 1) == SOVS_INVALID_ARGUMENT);
}

TEST(decide_refuses_nothing_to_decide) {
    const float grid = 0.0f;
    std::int64_t label = 0;
    CHECK(sovs_decide(0, 1, 1, &grid, 1, 1, 1, 1, 1, &label, nullptr, nullptr, 1) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_decide(1, 1, 1, nullptr, 1, 1, 1, 1, 1, &label, nullptr, nullptr, 1) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_decide(1, 2, 2, &grid, 2.5, 2, 1, 1, 1, &label, nullptr, nullptr, 1) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_decide(1, 2, 2, &grid, 2, 0, 1, 1, 1, &label, nullptr, nullptr, 1) == SOVS_INVALID_ARGUMENT);
}
