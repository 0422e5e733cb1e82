"""What Python tells ctypes of the library is what the C header declares."""

from __future__ import annotations

import ctypes
import re

import pytest

from sparse_ovs._native import loading, plan, structures, tuning
from sparse_ovs._native.structures import Sized
from support.c_header import HEADER, read_header

if not HEADER.is_file():
    pytest.skip("needs the C header of the sources", allow_module_level=True)

DECLARED = read_header(HEADER.read_text())

NUMBERS = {
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "size_t": ctypes.c_size_t,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
}


def class_name(struct: str) -> str:
    """sovs_mask_window -> MaskWindow."""
    return "".join(word.capitalize() for word in struct.removeprefix("sovs_").split("_"))


# Where a dataclass has the plain name, the struct's is a Structure.
CLASSES = {
    struct: getattr(structures, class_name(struct) + "Structure", None)
    or getattr(structures, class_name(struct), None)
    for struct in DECLARED.structs
}


def is_said(said: object, declared: str) -> bool:
    """ctypes' type is the header's; a c_void_p is every pointer."""
    if declared == "void":
        return said is None
    if declared in NUMBERS:
        return said is NUMBERS[declared]
    if declared in DECLARED.enums:
        return said is ctypes.c_int32
    if said is ctypes.c_void_p:
        return declared.endswith("*") or declared in DECLARED.callbacks
    if declared == "const char*":
        return said is ctypes.c_char_p
    if not declared.endswith("*") or not hasattr(said, "_type_"):
        return False
    target = declared.removesuffix("*")
    if target.endswith("*"):
        return is_said(said._type_, target)
    target = target.removeprefix("const ")
    return said._type_ is (CLASSES.get(target) or NUMBERS.get(target))


def numbers_of(enum: str, prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): n for name, n in DECLARED.enums[enum].items()}


def test_the_whole_header_is_read() -> None:
    text = HEADER.read_text()
    assert len(DECLARED.functions) == len(re.findall(r"^SOVS_API ", text, flags=re.MULTILINE))
    assert len(DECLARED.structs) == text.count("typedef struct {")
    assert len(DECLARED.enums) == text.count("typedef enum {")


def test_every_struct_begins_with_its_size() -> None:
    for struct, members in DECLARED.structs.items():
        assert (members[0].type, members[0].name) == ("size_t", "size"), struct


def test_python_has_the_structs_of_the_header_and_no_other() -> None:
    assert set(CLASSES.values()) == set(Sized.__subclasses__())


@pytest.mark.parametrize("struct", DECLARED.structs)
def test_python_s_struct_has_the_header_s_members(struct: str) -> None:
    members, fields = DECLARED.structs[struct], CLASSES[struct]._fields_
    assert [name for name, _ in fields] == [member.name for member in members]
    for (name, said), member in zip(fields, members, strict=True):
        assert is_said(said, member.type), f"{name}: {said} is no {member.type}"


@pytest.mark.parametrize("name", DECLARED.functions)
def test_python_calls_a_function_as_the_header_declares_it(name: str) -> None:
    function, declared = getattr(loading.library(), name), DECLARED.functions[name]
    assert is_said(function.restype, declared.result), f"{function.restype} is no {declared.result}"
    said = function.argtypes or []
    assert len(said) == len(declared.arguments)
    for kind, argument in zip(said, declared.arguments, strict=True):
        assert is_said(kind, argument.type), f"{argument.name}: {kind} is no {argument.type}"


def test_the_abi_version_is_the_header_s() -> None:
    assert DECLARED.abi_version == loading.ABI_VERSION


def test_the_numbers_of_status_types_and_layouts_are_the_header_s() -> None:
    status = numbers_of("sovs_status", "SOVS_")
    assert status["OK"] == 0
    assert status["INVALID_ARGUMENT"] == loading._STATUS_INVALID_ARGUMENT
    assert status["OUT_OF_MEMORY"] == loading._STATUS_OUT_OF_MEMORY
    assert numbers_of("sovs_dtype", "SOVS_")["F32"] == structures.FLOAT32
    assert numbers_of("sovs_layout", "SOVS_") == {"NCHW": plan.NCHW, "NHWC": plan.NHWC}


def test_the_numbers_of_places_panels_and_activations_are_the_header_s() -> None:
    places = {place.name: place.value for place in tuning.MapPlace}
    assert numbers_of("sovs_map_place", "SOVS_MAP_") == places
    panels = {name.upper() or "AUTO": i for i, name in enumerate(tuning.PANELS)}
    assert numbers_of("sovs_panel", "SOVS_PANEL_") == panels
    activations = {name.upper(): i for i, name in enumerate(tuning.ACTIVATIONS)}
    assert numbers_of("sovs_activation", "SOVS_") == activations
