"""Small Triton kernels that the tests of the tools run."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def copy(x, y, n, BLOCK: tl.constexpr):
    """y = x, (n,)."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, tl.load(x + at, mask=at < n), mask=at < n)


@triton.jit
def copy_unmasked(x, y, BLOCK: tl.constexpr):
    """y = x, whatever their length."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, tl.load(x + at))


@triton.jit
def square_plus(v):
    """v * v + v, as a function of its own."""
    return v * v + v


@triton.jit
def polynomial(x, y, n, BLOCK: tl.constexpr):
    """y = x * x + x, in the type of x."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, square_plus(tl.load(x + at, mask=at < n)), mask=at < n)


@triton.jit
def softmax(x, y, n, BLOCK: tl.constexpr):
    """Softmax over rows of n."""
    at = tl.arange(0, BLOCK)
    row = tl.program_id(0) * n
    v = tl.load(x + row + at, mask=at < n, other=-float("inf")).to(tl.float32)
    e = tl.exp(v - tl.max(v, 0))
    tl.store(y + row + at, (e / tl.sum(e, 0)).to(y.dtype.element_ty), mask=at < n)


@triton.jit
def matmul(
    a,
    b,
    c,
    M,
    N,
    K,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """c (M, N) = a (M, K) b (K, N), in float32."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    total = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        inside = start + k < K
        left = tl.load(
            a + m[:, None] * K + start + k[None, :],
            mask=(m[:, None] < M) & inside[None, :],
            other=0.0,
        )
        right = tl.load(
            b + (start + k)[:, None] * N + n[None, :],
            mask=inside[:, None] & (n[None, :] < N),
            other=0.0,
        )
        total = tl.dot(left, right, total, input_precision=PRECISION)
    tl.store(c + m[:, None] * N + n[None, :], total, mask=(m[:, None] < M) & (n[None, :] < N))


@triton.jit
def add_atomically(x, BLOCK: tl.constexpr):
    """Adds BLOCK ones to x (4,), a quarter to each."""
    tl.atomic_add(x + tl.arange(0, BLOCK) % 4, tl.full((BLOCK,), 1.0, x.dtype.element_ty))


@triton.jit
def store_everywhere(y, BLOCK: tl.constexpr):
    """Every program stores to the same addresses."""
    tl.store(y + tl.arange(0, BLOCK), tl.program_id(0) + tl.zeros((BLOCK,), tl.int32))


@triton.jit
def sum_masked(x, y, n, BLOCK: tl.constexpr):
    """Sums x (n,), and by mistake the masked lanes too."""
    at = tl.arange(0, BLOCK)
    tl.store(y, tl.sum(tl.load(x + at, mask=at < n), 0))


@triton.jit
def asserting(x, BLOCK: tl.constexpr):
    """Claims that x is positive."""
    tl.device_assert(tl.load(x + tl.arange(0, BLOCK)) > 0, "expected positive numbers")


@triton.autotune(
    configs=[triton.Config({"BLOCK": 64}, num_warps=2), triton.Config({"BLOCK": 128}, num_warps=4)],
    key=["n"],
)
@triton.jit
def double(x, y, n, BLOCK: tl.constexpr):
    """y = 2 x, autotuned."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, 2 * tl.load(x + at, mask=at < n), mask=at < n)


@triton.jit
def transposed_matmul(a, b, c, BLOCK: tl.constexpr):
    """c = a^T b^T, square."""
    at = tl.arange(0, BLOCK)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    tl.store(c + at, tl.dot(tl.trans(tl.load(a + at)), tl.trans(tl.load(b + at))))


@triton.jit
def int8_matmul(a, b, c, BLOCK: tl.constexpr):
    """c = a b, square, int8 to int32."""
    at = tl.arange(0, BLOCK)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    tl.store(c + at, tl.dot(tl.load(a + at), tl.load(b + at), out_dtype=tl.int32))


@triton.jit
def sort_and_sum(x, sums, ordered, BLOCK: tl.constexpr):
    """Running sums, and the sorted values."""
    at = tl.arange(0, BLOCK)
    v = tl.load(x + at)
    tl.store(sums + at, tl.cumsum(v, 0))
    tl.store(ordered + at, tl.sort(v))


@triton.jit
def functions(x, y, BLOCK: tl.constexpr):
    """erf + sigmoid + log + sqrt."""
    at = tl.arange(0, BLOCK)
    v = tl.load(x + at)
    w = tl.abs(v)
    tl.store(y + at, tl.erf(v) + tl.sigmoid(v) + tl.log(w + 1) + tl.sqrt(w))


@triton.jit
def gather_rows(x, index, y, BLOCK: tl.constexpr):
    """y[i, j] = x[i, index[i, j]]."""
    at = tl.arange(0, BLOCK)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    tl.store(y + at, tl.gather(tl.load(x + at), tl.load(index + at), 1))
