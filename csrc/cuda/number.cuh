// What weights and activations are stored as, chosen by the macro DTYPE; sums are always float.
#pragma once

#define DTYPE_FLOAT 0
#define DTYPE_HALF 1
#define DTYPE_BFLOAT 2

#if DTYPE == DTYPE_FLOAT

typedef float Number;
__device__ __forceinline__ float to_float(Number number) { return number; }
__device__ __forceinline__ Number to_number(float value) { return value; }

#else

typedef unsigned short Number;  // its bits: so no header of CUDA is needed

__device__ __forceinline__ float to_float(Number bits) {
#if DTYPE == DTYPE_HALF
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
#else
  return __uint_as_float(static_cast<unsigned>(bits) << 16);
#endif
}

__device__ __forceinline__ Number to_number(float value) {
  Number bits;
#if DTYPE == DTYPE_HALF
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#endif
  return bits;
}

#endif

// COUNT numbers that are read or written at once: up to 16 bytes, aligned to their size.
template <int COUNT>
struct alignas(COUNT * sizeof(Number)) Numbers {
  Number at[COUNT];
};

template <int COUNT>
__device__ __forceinline__ Numbers<COUNT> load_numbers(const Number* from) {
  return *reinterpret_cast<const Numbers<COUNT>*>(from);
}

template <int COUNT>
__device__ __forceinline__ void store_numbers(Number* to, const Numbers<COUNT>& numbers) {
  *reinterpret_cast<Numbers<COUNT>*>(to) = numbers;
}
