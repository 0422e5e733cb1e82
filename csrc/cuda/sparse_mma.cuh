// 16 x 8 += (16 x 32, 2:4) * (32 x 8) by the sparse tensor cores, for half and bfloat; float sums.
#pragma once

#if DTYPE == DTYPE_HALF
#define SPARSE_MMA "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32"
#else
#define SPARSE_MMA "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32"
#endif

// SELECTOR 0 takes the metadata of lanes 0 and 1 of each quad, 1 that of lanes 2 and 3.
template <int SELECTOR>
__device__ __forceinline__ void sparse_mma(float (&sums)[4], const uint4& weights, const unsigned (&activations)[4],
                                           unsigned metadata) {
  asm volatile(SPARSE_MMA
               " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, %13;\n"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
               : "r"(weights.x), "r"(weights.y), "r"(weights.z), "r"(weights.w), "r"(activations[0]),
                 "r"(activations[1]), "r"(activations[2]), "r"(activations[3]), "r"(metadata), "n"(SELECTOR));
}

// Four 8 x 8 matrices of 16-bit numbers; lane l gives the shared address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], unsigned row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row)
               : "memory");
}
