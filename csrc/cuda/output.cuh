// What happens to a finished sum: + bias, + an added map, ReLU, in this order; all may be absent.
#pragma once
#include "number.cuh"

struct Output {
  const float* bias;    // by output channel, or null
  const Number* added;  // laid out as the output, or null
  int relu;

  // channel: of the sum. place: its index in the output.
  __device__ __forceinline__ float finish(float sum, int channel, long long place) const {
    if (bias != nullptr) sum += bias[channel];
    if (added != nullptr) sum += to_float(added[place]);
    return rectified(sum);
  }

  __device__ __forceinline__ float rectified(float sum) const {
    // Written so that NaN stays NaN, as in torch.
    return relu && sum < 0.f ? 0.f : sum;
  }
};
