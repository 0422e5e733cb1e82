// BatchNorm in training against double precision, for planes below, at and above the vector width.
#include <string>

#include "problem.h"

namespace {

constexpr float kEps = 1e-5f;

std::vector<float> uniform(std::size_t count, unsigned seed) {
    std::mt19937 generator(seed);
    std::uniform_real_distribution<float> numbers(-1.0f, 1.0f);
    std::vector<float> made(count);
    for (float& v : made) v = numbers(generator);
    return made;
}

struct Exact {
    std::vector<double> y, grad_x, mean, variance, grad_gamma, grad_beta;
};

Exact exact(std::int64_t n, std::int64_t c, std::int64_t pixels, const std::vector<float>& x,
            const std::vector<float>& grad, const std::vector<float>& gamma, const std::vector<float>& beta) {
    Exact e{std::vector<double>(x.size()), std::vector<double>(x.size()), std::vector<double>(c),
            std::vector<double>(c),        std::vector<double>(c),        std::vector<double>(c)};
    const double count = static_cast<double>(n * pixels);
    for (std::int64_t channel = 0; channel < c; ++channel) {
        const auto each = [&](auto&& body) {
            for (std::int64_t i = 0; i < n; ++i)
                for (std::int64_t p = 0; p < pixels; ++p) body((i * c + channel) * pixels + p);
        };
        each([&](std::int64_t at) { e.mean[channel] += x[at] / count; });
        each([&](std::int64_t at) { e.variance[channel] += std::pow(x[at] - e.mean[channel], 2) / count; });
        const double deviation = std::sqrt(e.variance[channel] + kEps);
        const auto unit = [&](std::int64_t at) { return (x[at] - e.mean[channel]) / deviation; };
        each([&](std::int64_t at) {
            e.y[at] = unit(at) * gamma[channel] + beta[channel];
            e.grad_beta[channel] += grad[at];
            e.grad_gamma[channel] += grad[at] * unit(at);
        });
        each([&](std::int64_t at) {
            e.grad_x[at] = gamma[channel] / deviation *
                           (grad[at] - e.grad_beta[channel] / count - unit(at) * e.grad_gamma[channel] / count);
        });
    }
    return e;
}

void expect_near(const std::vector<float>& found, const std::vector<double>& expected, double bound,
                 const std::string& what) {
    for (std::size_t i = 0; i < found.size(); ++i)
        CHECK_SAYING(std::fabs(found[i] - expected[i]) <= bound * (1.0 + std::fabs(expected[i])), what);
}

}  // namespace

TEST(batch_norm_and_its_gradients_match_double_precision) {
    const std::int64_t n = 2, c = 5;
    for (const std::int64_t pixels : {2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 300})
        for (const int threads : {1, 3}) {
            const std::string what = std::to_string(pixels) + " pixels";
            const auto count = static_cast<std::size_t>(n * c * pixels);
            const std::vector<float> x = uniform(count, 1), grad = uniform(count, 2), gamma = uniform(c, 3),
                                     beta = uniform(c, 4);
            std::vector<float> y(count), grad_x(count), mean(c), variance(c), grad_gamma(c), grad_beta(c);
            CHECK(sovs_batch_norm(n, c, pixels, kEps, x.data(), gamma.data(), beta.data(), mean.data(), variance.data(),
                                  y.data(), threads) == SOVS_OK);
            CHECK(sovs_batch_norm_gradients(n, c, pixels, kEps, grad.data(), x.data(), gamma.data(), mean.data(),
                                            variance.data(), grad_x.data(), grad_gamma.data(), grad_beta.data(),
                                            threads) == SOVS_OK);
            const Exact e = exact(n, c, pixels, x, grad, gamma, beta);
            expect_near(mean, e.mean, 1e-6, what);
            expect_near(variance, e.variance, 1e-6, what);
            expect_near(y, e.y, 1e-5, what);
            expect_near(grad_beta, e.grad_beta, 1e-5, what);
            expect_near(grad_gamma, e.grad_gamma, 1e-5, what);
            expect_near(grad_x, e.grad_x, 1e-4, what);
            std::vector<float> again(c);
            CHECK(sovs_batch_norm_gradients(n, c, pixels, kEps, grad.data(), x.data(), gamma.data(), mean.data(),
                                            variance.data(), nullptr, again.data(), grad_beta.data(), 1) == SOVS_OK);
            CHECK(again == grad_gamma);
        }
}

TEST(batch_norm_refuses_what_it_cannot_use) {
    float one = 1.0f;
    CHECK(sovs_batch_norm(0, 1, 1, kEps, &one, &one, &one, &one, &one, &one, 1) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_batch_norm(1, 1, 1, kEps, nullptr, &one, &one, &one, &one, &one, 1) == SOVS_INVALID_ARGUMENT);
    CHECK(sovs_batch_norm_gradients(1, 1, 1, kEps, &one, nullptr, &one, &one, &one, &one, &one, &one, 1) ==
          SOVS_INVALID_ARGUMENT);
}
