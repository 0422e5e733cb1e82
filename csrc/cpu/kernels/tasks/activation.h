// The activations that follow a convolution.
#pragma once
#include <cstdint>

namespace sovs {

// What a convolution applies to its final sums. gelu is exact (erf), gelu_tanh its approximation by tanh, quick_gelu
// x * sigmoid(1.702 x).
enum class Activation : std::int32_t { none, relu, gelu, gelu_tanh, quick_gelu };
// As records spell them, in that order; none is null there.
inline constexpr const char* kActivationNames[] = {"none", "relu", "gelu", "gelu_tanh", "quick_gelu"};

}  // namespace sovs
