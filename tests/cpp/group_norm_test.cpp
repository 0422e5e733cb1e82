// GroupNorm in place against double precision: groups of any size, a coarser map added, a ReLU.
#include <string>

#include "problem.h"

namespace {

struct Case {
    std::int64_t n, c, h, w, groups, above_h, above_w;  // no coarser map where its height is 0
};

double place(std::int64_t i, std::int64_t cells, std::int64_t pixels) {
    return std::clamp((static_cast<double>(i) + 0.5) * static_cast<double>(cells) / static_cast<double>(pixels) - 0.5,
                      0.0, static_cast<double>(cells - 1));
}

double upsampled(const float* plane, const Case& s, std::int64_t y, std::int64_t x) {
    const double down = place(y, s.above_h, s.h), across = place(x, s.above_w, s.w);
    double sum = 0.0;
    for (std::int64_t r = 0; r < s.above_h; ++r)
        for (std::int64_t c = 0; c < s.above_w; ++c)
            sum += std::max(0.0, 1.0 - std::fabs(down - static_cast<double>(r))) *
                   std::max(0.0, 1.0 - std::fabs(across - static_cast<double>(c))) * plane[r * s.above_w + c];
    return sum;
}

std::vector<float> random_floats(std::int64_t count, float mean, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> numbers(mean, 2.0f);
    std::vector<float> made(static_cast<std::size_t>(count));
    for (float& value : made) value = numbers(generator);
    return made;
}

}  // namespace

TEST(group_norm_matches_double_precision) {
    constexpr float kEps = 1e-5f;
    const Case cases[] = {{1, 4, 1, 1, 2, 0, 0},
                          {2, 6, 5, 7, 3, 0, 0},
                          {1, 8, 9, 33, 4, 5, 17},
                          {2, 4, 6, 64, 4, 3, 32},
                          {1, 3, 4, 5, 1, 8, 9}};
    for (const Case& s : cases)
        for (const int relu : {0, 1})
            for (const int threads : {1, 3}) {
                const std::int64_t pixels = s.h * s.w, channels = s.c / s.groups;
                const std::vector<float> x = random_floats(s.n * s.c * pixels, 50.0f, 1),
                                         gamma = random_floats(s.c, 1.0f, 2), beta = random_floats(s.c, 0.0f, 3),
                                         above = random_floats(s.n * s.c * s.above_h * s.above_w, 0.0f, 4);
                std::vector<float> made = x;
                CHECK(sovs_group_norm(s.n, s.c, s.h, s.w, s.groups, kEps, made.data(), gamma.data(), beta.data(),
                                      s.above_h ? above.data() : nullptr, s.above_h, s.above_w, relu,
                                      threads) == SOVS_OK);
                double worst = 0.0;
                for (std::int64_t group = 0; group < s.n * s.groups; ++group) {
                    const std::int64_t first = group * channels * pixels, count = channels * pixels;
                    double mean = 0.0, variance = 0.0;
                    for (std::int64_t i = first; i < first + count; ++i) mean += x[static_cast<std::size_t>(i)];
                    mean /= static_cast<double>(count);
                    for (std::int64_t i = first; i < first + count; ++i) {
                        const double off = x[static_cast<std::size_t>(i)] - mean;
                        variance += off * off / static_cast<double>(count);
                    }
                    for (std::int64_t i = 0; i < count; ++i) {
                        const std::int64_t plane = group * channels + i / pixels, channel = plane % s.c;
                        double expected = (x[static_cast<std::size_t>(first + i)] - mean) / std::sqrt(variance + kEps) *
                                              gamma[static_cast<std::size_t>(channel)] +
                                          beta[static_cast<std::size_t>(channel)];
                        if (s.above_h)
                            expected += upsampled(above.data() + plane * s.above_h * s.above_w, s, i % pixels / s.w,
                                                  i % pixels % s.w);
                        if (relu) expected = std::max(expected, 0.0);
                        worst = std::max(worst, std::fabs(expected - made[static_cast<std::size_t>(first + i)]));
                    }
                }
                CHECK(worst < 2e-4);
            }
}

TEST(group_norm_refuses_what_does_not_fit) {
    float x[6] = {}, one[6] = {};
    CHECK(sovs_group_norm(1, 6, 1, 1, 4, 0.0f, x, one, one, nullptr, 0, 0, 0, 1) == SOVS_INVALID_ARGUMENT);
    CHECK(std::string(sovs_last_error()) == "expected groups that divide the channels");
    CHECK(sovs_group_norm(1, 6, 0, 1, 2, 0.0f, x, one, one, nullptr, 0, 0, 0, 1) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_group_norm(1, 6, 1, 1, 2, 0.0f, x, one, one, x, 0, 1, 0, 1) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_group_norm(1, 6, 1, 1, 2, 0.0f, x, nullptr, one, nullptr, 0, 0, 0, 1) == SOVS_INVALID_ARGUMENT);
}
