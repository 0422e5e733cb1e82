"""Mutations of PTX texts: one fault each, where it was said to be."""

from __future__ import annotations

from gpu.emulation.mutations import wider_masks, without_barriers, without_waits

PTX = """
	ld.param.b32 	%r7, [k_param_3];
	setp.lt.s32 	%p1, %r1, %r7;
	ld.param.u32 	%r8, [k_param_3];
	setp.ge.u32 	%p2, %r2, %r8;
	setp.lt.s32 	%p3, %r2, %r9;
	bar.sync 	0;
$L__BB0_2:
	cp.async.wait_group 	3;
	cp.async.wait_group 	3;
	bar.sync 	0;
	wgmma.wait_group.sync.aligned 0;
	@%p1 bra 	$L__BB0_2;
	cp.async.wait_group 	0;
"""


def test_each_barrier_is_dropped_once() -> None:
    first, second = without_barriers(PTX)
    assert first.ptx.count("bar.sync") == second.ptx.count("bar.sync") == 1
    assert "bar.sync" in first.ptx[first.ptx.index("$L__BB0_2:") :]
    assert (first.in_loop, second.in_loop) == (False, True)


def test_waits_in_a_row_are_dropped_together() -> None:
    copies, product, last = without_waits(PTX)
    assert copies.ptx.count("cp.async.wait_group") == 1
    assert "wgmma.wait_group" not in product.ptx
    assert [m.in_loop for m in (copies, product, last)] == [True, True, False]


def test_all_masks_of_a_size_let_one_more_through() -> None:
    (wider,) = wider_masks(PTX)
    assert "setp.le.s32 	%p1, %r1, %r7;" in wider.ptx
    assert "setp.gt.u32 	%p2, %r2, %r8;" in wider.ptx
    assert "setp.lt.s32 	%p3, %r2, %r9" in wider.ptx
    assert wider.fault == "one past k_param_3"
