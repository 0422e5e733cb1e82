"""Small CUDA kernels that the tests of the tools run, and what they need on the host."""

from __future__ import annotations

import torch
from torch import Tensor

#: Rows of (n,) to mean 0 and variance 1; warp shuffles, and a barrier on both sides of each sum.
ROW_NORM = """
__device__ float block_sum(float v, float* partial) {
  for (int step = 16; step; step >>= 1) v += __shfl_xor_sync(0xffffffffu, v, step);
  if ((threadIdx.x & 31) == 0) partial[threadIdx.x >> 5] = v;
  __syncthreads();
  v = (threadIdx.x & 31) < 4 ? partial[threadIdx.x & 31] : 0.f;
  for (int step = 16; step; step >>= 1) v += __shfl_xor_sync(0xffffffffu, v, step);
  __syncthreads();
  return v;
}
extern "C" __global__ void __launch_bounds__(128) row_norm(const float* x, float* y, int n) {
  __shared__ float partial[4];
  x += (size_t)blockIdx.x * n;
  y += (size_t)blockIdx.x * n;
  float sum = 0, squares = 0;
#pragma unroll 1
  for (int i = threadIdx.x; i < n; i += 128) sum += x[i];
  float mean = block_sum(sum, partial) / n;
#pragma unroll 1
  for (int i = threadIdx.x; i < n; i += 128) squares += (x[i] - mean) * (x[i] - mean);
  float scale = rsqrtf(block_sum(squares, partial) / n + 1e-5f);
#pragma unroll 1
  for (int i = threadIdx.x; i < n; i += 128) y[i] = (x[i] - mean) * scale;
}
"""

#: y (M, N) = W x^T, W 2:4 as kept values (M, K / 2) and metadata (M, K / 16), x (N, K): mma.sp, fed
#: by cp.async through two buffers and ldmatrix. M divides by 16, N and K by 32.
SPARSE_GEMM = """
#include <cuda_fp16.h>
typedef unsigned int u32;
__device__ void copy16(void* to, const void* from) {
  u32 at = (u32)__cvta_generic_to_shared(to);
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from));
}
extern "C" __global__ void __launch_bounds__(128) sparse_gemm(
    const __half* values, const unsigned short* metadata, const __half* x, float* y,
    int M, int N, int K) {
  __shared__ __align__(16) __half tile[2][32][40];
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
  int row = blockIdx.y * 16 + g, column = blockIdx.x * 32;
  float d[4] = {0, 0, 0, 0};
  auto fetch = [&](int buffer, int k) {
    int r = threadIdx.x >> 2 ^ 8, c = (threadIdx.x & 3) * 8;
    copy16(&tile[buffer][r][c], x + (size_t)(column + r) * K + k + c);  // which another warp reads
    asm volatile("cp.async.commit_group;");
  };
  fetch(0, 0);
#pragma unroll 1
  for (int k = 0, buffer = 0; k < K; k += 32, buffer ^= 1) {
    fetch(buffer ^ 1, k + 32 < K ? k + 32 : 0);
    asm volatile("cp.async.wait_group 1;");
    __syncthreads();
    u32 a[4], b[4];
    for (int i = 0; i < 4; ++i)
      a[i] = *(const u32*)(values + (size_t)(row + (i & 1) * 8) * (K / 2) + k / 2 +
                           (i >> 1) * 8 + t * 2);
    u32 at = (u32)__cvta_generic_to_shared(&tile[buffer][warp * 8 + (lane & 7)][(lane >> 3) * 8]);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3]) : "r"(at));
    const unsigned short* pair = metadata + (size_t)row * (K / 16) + k / 16 + (t & 1);
    u32 positions = pair[0] | (u32)pair[8 * (K / 16)] << 16;
    asm volatile("mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9, %10, %11}, "
                 "{%0, %1, %2, %3}, %12, 0x0;"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]),
                   "r"(b[3]), "r"(positions));
    __syncthreads();
  }
  asm volatile("cp.async.wait_all;");
  float* out = y + (size_t)row * N + column + warp * 8 + t * 2;
  out[0] = d[0]; out[1] = d[1]; out[8 * N] = d[2]; out[8 * N + 1] = d[3];
}
"""

#: Copies that show in the counters; `step` is the distance of neighbouring lanes, in floats.
COPIES = """
extern "C" __global__ void copy_by_4(const float* x, float* y) {
  int i = blockIdx.x * 32 + threadIdx.x;
  y[i] = x[i];
}
extern "C" __global__ void copy_by_16(const float4* x, float4* y) {
  int i = blockIdx.x * 32 + threadIdx.x;
  y[i] = x[i];
}
extern "C" __global__ void load_strided(const float* x, float* y, int step) {
  y[threadIdx.x] = x[threadIdx.x * step];
}
extern "C" __global__ void read_shared_strided(float* y, int step) {
  __shared__ float tile[1024];
  for (int i = threadIdx.x; i < 1024; i += 32) tile[i] = i;
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x * step];
}
extern "C" __global__ void read_shared_by_16(float4* y, int step) {
  __shared__ float4 tile[256];
  for (int i = threadIdx.x; i < 256; i += 32) tile[i] = make_float4(i, i, i, i);
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x * step];
}
extern "C" __global__ void use_half_a_warp(const float* x, float* y) {
  if (threadIdx.x % 2) y[threadIdx.x] = __sinf(x[threadIdx.x]);
}
extern "C" __global__ void read_local(const int* index, float* y) {
  float own[16];
  for (int i = 0; i < 16; i++) own[i] = y[i];
  y[16 + threadIdx.x] = own[index[threadIdx.x]];
}
extern "C" __global__ void wait_for_nobody(int* lock) {
  while (atomicCAS(lock, 0, 1) != 0) {}
}
"""


def two_four(rows: int, columns: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A random 2:4 matrix: kept values (rows, columns / 2) fp16, metadata (rows, columns / 16)
    int16 for mma.sp, and the dense matrix."""
    dense = torch.randn(rows, columns // 4, 4, generator=generator).half()
    kept = torch.rand(dense.shape, generator=generator).topk(2, dim=2).indices.sort(2).values
    values = dense.gather(2, kept)
    pairs = (kept[..., 0] | kept[..., 1] << 2).view(rows, columns // 16, 4)
    metadata = (pairs << torch.tensor([0, 4, 8, 12])).sum(2).to(torch.uint16)
    dense = torch.zeros_like(dense).scatter_(2, kept, values).view(rows, columns)
    return values.reshape(rows, columns // 2).contiguous(), metadata, dense
