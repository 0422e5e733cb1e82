// How the sums of bf16 kernels become numbers of the output's map.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sovs {

// Sums [+ residual], at least `least`, at most `most`, in fp32; then rounded half to even. NaN stays NaN.
struct Bf16Epilogue {
    const std::uint16_t* residual;  // as `out`, or null
    float least, most;
    std::uint16_t* out;     // pixel 0 of channel 0
    std::ptrdiff_t stride;  // numbers between channels of `out` and of `residual`
};

}  // namespace sovs
