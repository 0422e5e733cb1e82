"""Reading PTX text."""

import pytest

from gpu.emulation.ptx.syntax import Guard, Param, entry_names, parse, select_entry
from gpu.emulation.ptx.translate import translate

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"


def kernel(body: str, name: str = "k", params: str = "") -> str:
    return f"{HEAD}.visible .entry {name}({params})\n{{\n{body}\nret;\n}}\n"


def test_parameters_lie_at_their_own_alignment() -> None:
    params = ".param .u32 a, .param .u64 .ptr .global .align 1 b, .param .u8 c, .param .f32 d"
    program = parse(kernel("", params=params))
    assert program.params == {
        "a": Param(0, 4, False),
        "b": Param(8, 8, False),
        "c": Param(16, 1, False),
        "d": Param(20, 4, True),
    }
    assert program.param_bytes == 24


def test_a_struct_parameter_has_the_size_and_alignment_of_its_bytes() -> None:
    program = parse(kernel("", params=".param .u32 a, .param .align 8 .b8 b[24]"))
    assert program.params["b"] == Param(8, 24, False)


def test_blocks_end_at_labels_branches_and_barriers() -> None:
    body = """.reg .pred %p<2>; .reg .b32 %r<3>;
    mov.u32 %r1, %tid.x;
    $L1:
    add.s32 %r1, %r1, 1;
    setp.lt.s32 %p1, %r1, 9;
    @%p1 bra $L1;
    bar.sync 0;
    mov.u32 %r2, %r1;"""
    program = parse(kernel(body))
    ops = [[i.op for i in block] for block in program.blocks]
    assert ops[0] == ["mov.u32"]
    assert ops[1] == ["add.s32", "setp.lt.s32", "bra"]
    assert ops[2] == ["bar.sync"]
    assert ops[3] == ["mov.u32", "ret"]
    assert program.labels == {"$L1": 1}
    assert program.blocks[1][-1].guard == Guard("%p1", negated=False)


def test_registers_of_an_inner_scope_hide_outer_ones() -> None:
    body = ".reg .b32 t; mov.u32 t, 1; { .reg .b64 t; mov.u64 t, 2; } mov.u32 t, 3;"
    program = parse(kernel(body))
    targets = [i.operands[0] for i in program.blocks[0][:3]]
    assert targets[0] == targets[2] == "t"
    assert targets[1] != "t"
    assert program.registers[targets[1]] == ("u64", 0)


def test_shared_symbols_get_aligned_offsets() -> None:
    body = ".shared .align 4 .b8 a[6]; .shared .align 16 .f32 b[4]; .shared .u32 c;"
    program = parse(kernel(body))
    assert program.shared == {"a": 0, "b": 16, "c": 32}
    assert program.shared_bytes == 36


def test_arrays_of_the_file_have_their_bytes() -> None:
    text = kernel("").replace(
        ".visible",
        ".global .align 4 .b32 a[3] = {1, 0xff, -2};\n.const .f32 b = 0f3F800000;\n"
        ".visible .const .align 8 .b8 c[8];\n.visible",
        1,
    )
    assert parse(text).constants == {
        "a": bytes([1, 0, 0, 0, 255, 0, 0, 0, 254, 255, 255, 255]),
        "b": bytes([0, 0, 128, 63]),
        "c": bytes(8),
    }
    with pytest.raises(NotImplementedError, match="initial value other"):
        parse(".global .u64 a = other;\n" + text)


def test_lines_survive_comments_and_the_choice_of_a_kernel() -> None:
    text = kernel("/* one\ntwo */ mov.u32 %r1, 1;", name="a") + kernel("bar.sync 0;", name="b")
    assert entry_names(text) == ["a", "b"]
    line = text.splitlines().index("bar.sync 0;") + 1
    program = parse(select_entry(text, "b"))
    assert program.name == "b"
    assert program.blocks[0][0].line == line
    with pytest.raises(ValueError, match=r"expected one of \['a', 'b'\], got 'c'"):
        select_entry(text, "c")
    with pytest.raises(ValueError, match="expected one kernel"):
        parse(text)


@pytest.mark.parametrize(
    "statement",
    [
        "tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [%rd1], 32;",
        "add.sat.s32 %r1, %r1, %r2;",
        "add.rz.f32 %f1, %f1, %f2;",
        "max.f32 %f1, %f1, %missing;",
        "cp.async.bulk.commit_group;",
        "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%fd1}, {%fd2}, {%fd3}, {%fd1};",
        "bar.sync 1;",
        "bar.sync 0, 64;",
        "bra $Nowhere;",
        "call.uni f, ();",
        "ld.global.b128 %r1, [%rd1];",
        "set.lt.u32.f32 %r1, %f1, %f2;",
    ],
)
def test_what_the_emulator_does_not_know_is_refused_with_its_line(statement: str) -> None:
    registers = ".reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .f32 %f<9>; .reg .f64 %fd<9>;"
    text = kernel(f"{registers}\n{statement}")
    line = text.splitlines().index(statement) + 1
    with pytest.raises(NotImplementedError, match=f"line {line}"):
        translate(text)


def test_functions_that_are_not_inlined_are_refused() -> None:
    text = HEAD + ".visible .func helper(.param .b32 x)\n{\nret;\n}\n" + kernel("")
    with pytest.raises(NotImplementedError, match="not inlined"):
        translate(text)
