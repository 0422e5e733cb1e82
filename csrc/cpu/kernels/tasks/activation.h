// The activations that follow a convolution.
#pragma once
#include <cstdint>

namespace sovs {

// What a convolution applies to its final sums. gelu is exact (erf), gelu_tanh its approximation by tanh, quick_gelu
// x * sigmoid(1.702 x), relu6 the numbers from 0 to 6.
enum class Activation : std::int32_t { none, relu, gelu, gelu_tanh, quick_gelu, relu6 };
// As records spell them, in that order; none is null there.
inline constexpr const char* kActivationNames[] = {"none", "relu", "gelu", "gelu_tanh", "quick_gelu", "relu6"};

}  // namespace sovs
