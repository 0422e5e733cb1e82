"""What one program of a kernel works on: a tile of rows, stored blocks, one block."""

from sparse_ovs.kernels._triton import tl, triton


@triton.jit
def own_tile(columns, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """One of the blocks of BLOCK_N columns, and BLOCK_M rows. Neighbours share rows (in L2)."""
    blocks = tl.cdiv(columns, BLOCK_N)
    block = tl.program_id(0) % blocks
    rows = tl.program_id(0) // blocks * BLOCK_M + tl.arange(0, BLOCK_M)
    return block, rows


@triton.jit
def stored_blocks(row_ptr, block_row):
    """Where the blocks of a block row start and end."""
    return tl.load(row_ptr + block_row), tl.load(row_ptr + block_row + 1)


@triton.jit
def own_block(block_rows_ptr, channels_ptr, blocks, BLOCK_O: tl.constexpr, BLOCK_I: tl.constexpr):
    """A stored block, a part of its sum, and the block's output and input channels."""
    block = tl.program_id(0) % blocks
    split = tl.program_id(0) // blocks
    outs = tl.load(block_rows_ptr + block) * BLOCK_O + tl.arange(0, BLOCK_O)
    ins = tl.load(channels_ptr + block) * BLOCK_I + tl.arange(0, BLOCK_I)
    return block, split, outs, ins


@triton.jit
def rows_of_split(split, length, rows):
    """Where the rows of a part of a sum start and end; see `splits.split_rows`."""
    start = split * length
    return start, tl.minimum(start + length, rows)


@triton.jit
def block_pointers(values_ptr, BLOCK_O: tl.constexpr, BLOCK_I: tl.constexpr):
    """The first block, (R, C)."""
    return values_ptr + tl.arange(0, BLOCK_O)[:, None] * BLOCK_I + tl.arange(0, BLOCK_I)[None, :]


@triton.jit
def transposed_block_pointers(values_ptr, block, BLOCK_O: tl.constexpr, BLOCK_I: tl.constexpr):
    """The block of that number, stored as (R, C) and read as (C, R)."""
    first = values_ptr + block.to(tl.int64) * (BLOCK_O * BLOCK_I)
    return first + tl.arange(0, BLOCK_O)[None, :] * BLOCK_I + tl.arange(0, BLOCK_I)[:, None]


@triton.jit
def row_pointers(ptr, rows, stride, columns):
    """(rows, columns) of a matrix whose rows are `stride` apart."""
    return ptr + rows.to(tl.int64)[:, None] * stride + columns[None, :]


@triton.jit
def and_unless(EVEN: tl.constexpr, mask, condition):
    """mask & condition; EVEN says that the condition always holds, and nothing is compared."""
    if not EVEN:
        mask = mask & condition
    return mask
