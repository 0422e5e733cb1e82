"""Loads the compiled library and wraps its C API: the only module that knows it is there."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ABI_VERSION = 3
NCHW, NHWC = 0, 1

_STATUS_INVALID_ARGUMENT = 1
_STATUS_OUT_OF_MEMORY = 2


class NativeLibraryError(RuntimeError):
    """The compiled library is missing, of another version, or refuses to work on this CPU."""


class _WeightsDesc(ctypes.Structure):
    _fields_ = [
        ("out_channels", ctypes.c_int64),
        ("in_channels", ctypes.c_int64),
        ("kernel_h", ctypes.c_int64),
        ("kernel_w", ctypes.c_int64),
        ("groups", ctypes.c_int64),
        ("block_rows", ctypes.c_int64),
        ("row_ptr", ctypes.c_void_p),
        ("indices", ctypes.c_void_p),
        ("index_bits", ctypes.c_int64),
        ("values", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    ]


class _Shape(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in "nchw"]


_TUNING = [
    (name, ctypes.c_int64) for name in ("tile_rows", "tile_cols", "k_tile", "row_parts", "panel")
]


class _Tuning(ctypes.Structure):
    _fields_ = _TUNING


class _StepInfo(ctypes.Structure):
    _fields_ = [
        ("step", ctypes.c_int32),
        ("strip_group", ctypes.c_int32),
        ("backend", ctypes.c_char_p),
        *[(name, ctypes.c_int64) for name in ("n", "c", "h", "w", "tile")],
        ("density", ctypes.c_double),
        *_TUNING,
    ]


@dataclass(frozen=True)
class Tuning:
    """Sizes that a convolution runs with; 0 lets the library choose. Never changes a result.

    Attributes:
        tile_rows, tile_cols: output pixels of a tile.
        k_tile: input channels of a panel.
        row_parts: parts that the output channels are split in.
        panel: how a panel holds the pixels: 1 halo, 2 shifted, 3 taps.

    Raises:
        ValueError: a field that is no such number.
    """

    tile_rows: int = 0
    tile_cols: int = 0
    k_tile: int = 0
    row_parts: int = 0
    panel: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            most = len(_PANELS) - 1 if name == "panel" else 2**31 - 1
            if type(value) is not int or not 0 <= value <= most:
                raise ValueError(f"expected {name} from 0 to {most}, got {value!r}")


@dataclass(frozen=True)
class StepInfo:
    """What runs as one step of a final plan.

    Attributes:
        step: number of the step that was added; of a copy, of the step that it serves.
        strip_group: steps with the same number run together, strip by strip; None runs alone.
        backend: what computes it, in a word or two.
        shape: (N, C, H, W) of its output.
        tile: pixels of a tile in which the output lies: H * W is NCHW, 1 is NHWC.
        density: of its weights; 1 without any.
        tile_rows, tile_cols: output pixels of a tile; 0 for a step without tiles.
        k_tile: input channels of a panel.
        row_parts: parts that the output channels are split in.
        panel: how a panel holds the pixels; "" for a step without tiles.
    """

    step: int
    strip_group: int | None
    backend: str
    shape: tuple[int, int, int, int]
    tile: int
    density: float
    tile_rows: int
    tile_cols: int
    k_tile: int
    row_parts: int
    panel: str


_PANELS = ("", "halo", "shifted", "taps")  # by sovs_panel, after AUTO


class _Conv2dParams(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "stride_h",
            "stride_w",
            "pad_h",
            "pad_w",
            "dilation_h",
            "dilation_w",
            "activation",
        )
    ]


class _AttentionParams(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("heads", "head_channels", "query", "key", "value")),
        ("scale", ctypes.c_float),
    ]


class _Conv2dPlace(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("n", "h", "w", "pixel_major")]


def _library_name() -> str:
    return "libsparse_ovs.dylib" if sys.platform == "darwin" else "libsparse_ovs.so"


def _candidates() -> list[Path]:
    """Places the library may lie in: named by the user, beside the package, or in the installed
    distribution.

    In an editable install the sources stay in the checkout and the library lies in site-packages.
    """
    named = os.environ.get("SPARSE_OVS_LIBRARY")
    if named:
        return [Path(named)]
    places = [Path(__file__).parent / "lib" / _library_name()]
    try:
        files = importlib.metadata.files("sparse_ovs") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    places += [Path(str(file.locate())) for file in files if file.name == _library_name()]
    return places


def _declare(lib: ctypes.CDLL) -> None:
    i32, i64, pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
    signatures: dict[str, tuple[object, list[object]]] = {
        "sovs_last_error": (ctypes.c_char_p, []),
        "sovs_isa": (ctypes.c_char_p, []),
        "sovs_available_isas": (ctypes.c_char_p, []),
        "sovs_use_openmp": (None, [pointer]),
        "sovs_buffer_take": (i32, [ctypes.c_size_t, ctypes.POINTER(pointer)]),
        "sovs_buffer_give": (i32, [pointer]),
        "sovs_buffer_idle_bytes": (ctypes.c_size_t, []),
        "sovs_weights_create": (i32, [ctypes.POINTER(_WeightsDesc), ctypes.POINTER(pointer)]),
        "sovs_weights_create_dense": (i32, [i64] * 5 + [pointer, pointer, ctypes.POINTER(pointer)]),
        "sovs_weights_bytes": (ctypes.c_size_t, [pointer]),
        "sovs_weights_packed_bytes": (ctypes.c_size_t, [pointer]),
        "sovs_weights_release": (i32, [pointer]),
        "sovs_weights_unpack": (i32, [pointer, pointer]),
        "sovs_weights_destroy": (None, [pointer]),
        "sovs_plan_create": (i32, [ctypes.POINTER(pointer)]),
        "sovs_plan_add_tensor": (i32, [pointer, i64, i64, i64, i64, i32, ctypes.POINTER(i32)]),
        "sovs_plan_add_conv2d": (
            i32,
            [pointer, pointer, ctypes.POINTER(_Conv2dParams), pointer, i32, i32, i32],
        ),
        "sovs_conv2d_candidates": (
            i32,
            [
                pointer,
                ctypes.POINTER(_Conv2dParams),
                ctypes.POINTER(_Conv2dPlace),
                ctypes.POINTER(_Tuning),
                ctypes.POINTER(i32),
            ],
        ),
        "sovs_conv2d_time": (
            i32,
            [
                pointer,
                ctypes.POINTER(_Conv2dParams),
                ctypes.POINTER(_Conv2dPlace),
                ctypes.POINTER(_Tuning),
                *[i32] * 2,
                ctypes.POINTER(ctypes.c_double),
            ],
        ),
        "sovs_plan_add_avg_pool2x2": (i32, [pointer, i32, i32]),
        "sovs_plan_add_layer_norm": (
            i32,
            [pointer, i64, pointer, pointer, ctypes.c_float, i32, i32],
        ),
        "sovs_plan_add_attention": (
            i32,
            [pointer, ctypes.POINTER(_AttentionParams), i32, i32, i32],
        ),
        "sovs_plan_add_tokens": (i32, [pointer, i64, i64, pointer, i64, i32, i32]),
        "sovs_plan_add_crop": (i32, [pointer, i64, i32, i32]),
        "sovs_plan_finalize": (
            i32,
            [pointer, ctypes.POINTER(i32), i32, ctypes.POINTER(i32), i32, i32],
        ),
        "sovs_plan_run": (i32, [pointer, ctypes.POINTER(pointer), ctypes.POINTER(pointer), i32]),
        "sovs_plan_time": (
            i32,
            [pointer, *[ctypes.POINTER(pointer)] * 2, i32, ctypes.POINTER(ctypes.c_double)],
        ),
        "sovs_plan_step_count": (i32, [pointer]),
        "sovs_plan_step_info": (i32, [pointer, i32, ctypes.POINTER(_StepInfo)]),
        "sovs_plan_arena_bytes": (ctypes.c_size_t, [pointer]),
        "sovs_plan_destroy": (None, [pointer]),
        "sovs_encoder_load": (i32, [ctypes.c_char_p, ctypes.POINTER(pointer)]),
        "sovs_encoder_input_channels": (i64, [pointer]),
        "sovs_encoder_output_count": (i32, [pointer]),
        "sovs_encoder_header": (ctypes.c_char_p, [pointer]),
        "sovs_encoder_outputs": (i32, [pointer, i64, i64, i64, ctypes.POINTER(_Shape)]),
        "sovs_encoder_run": (
            i32,
            [pointer, pointer, i64, i64, i64, ctypes.POINTER(pointer), i32],
        ),
        "sovs_encoder_plan": (i32, [pointer, i64, i64, i64, i32, ctypes.POINTER(pointer)]),
        "sovs_encoder_destroy": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    places = _candidates()
    place = next((p for p in places if p.is_file()), None)
    if place is None:
        looked = ", ".join(str(p) for p in places)
        raise NativeLibraryError(
            f"expected the compiled library {_library_name()}, got none in {looked}"
        )
    try:
        lib = ctypes.CDLL(str(place))
        lib.sovs_abi_version.restype = ctypes.c_int32
        found = lib.sovs_abi_version()
    except (OSError, AttributeError) as error:
        raise NativeLibraryError(f"expected a loadable library, got {place}: {error}") from error
    if found != ABI_VERSION:
        raise NativeLibraryError(
            f"expected a library with ABI version {ABI_VERSION}, got {found} in {place}: "
            "reinstall sparse_ovs"
        )
    _declare(lib)
    if lib.sovs_isa() is None:
        raise NativeLibraryError(lib.sovs_last_error().decode())
    return lib


@lru_cache(maxsize=1)
def unavailable_reason() -> str:
    """Why the compiled library cannot be used; empty if it can."""
    try:
        _library()
    except NativeLibraryError as error:
        return str(error)
    return ""


def _check(status: int) -> None:
    if status == 0:
        return
    message = _library().sovs_last_error().decode()
    if status == _STATUS_INVALID_ARGUMENT:
        raise ValueError(message)
    if status == _STATUS_OUT_OF_MEMORY:
        raise MemoryError(message)
    raise RuntimeError(message)


def isa() -> str:
    """Name of the instruction set whose kernels run here: generic, avx2, avx512 or neon."""
    return _library().sovs_isa().decode()


def available_isas() -> list[str]:
    """Instruction sets that both this build and this CPU have, widest first."""
    return _library().sovs_available_isas().decode().split(",")


def cpu_name() -> str:
    """The CPU's model name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def use_openmp(path: str | None) -> None:
    """Runs plans on the threads of a loaded OpenMP runtime; None: on the library's own.

    Raises NativeLibraryError where the file is no such runtime.
    """
    if path is None:
        _library().sovs_use_openmp(None)
        return
    try:
        parallel = ctypes.CDLL(path).GOMP_parallel
    except (OSError, AttributeError) as error:
        raise NativeLibraryError(f"expected an OpenMP runtime, got {path}: {error}") from error
    _library().sovs_use_openmp(ctypes.cast(parallel, ctypes.c_void_p))


def take_floats(count: int) -> ctypes.Array[ctypes.c_float]:
    """Uninitialised memory from the library's pool; it goes back when the last reference goes."""
    lib = _library()
    address = ctypes.c_void_p()
    _check(lib.sovs_buffer_take(4 * count, ctypes.byref(address)))
    floats = (ctypes.c_float * count).from_address(address.value or 0)
    # Not at exit: tensors may still be in use when exit handlers run.
    weakref.finalize(floats, lib.sovs_buffer_give, address).atexit = False
    return floats


def idle_buffer_bytes() -> int:
    """Bytes of output memory that the library keeps for later."""
    return int(_library().sovs_buffer_idle_bytes())


@dataclass(frozen=True)
class ConvSpot:
    """A convolution inside a plan, to be timed.

    Attributes:
        size: (N, H, W) of its input.
        stride, padding, dilation: (vertical, horizontal).
        pixel_major: a plan may lay out its maps pixel by pixel, as the dense 3x3 kernels want them:
            neither is the caller's, nor takes part in a residual add.
    """

    size: tuple[int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    pixel_major: bool

    def structures(self) -> tuple[_Conv2dParams, _Conv2dPlace]:
        """As the library takes them."""
        params = _Conv2dParams(*self.stride, *self.padding, *self.dilation, 0)
        return params, _Conv2dPlace(*self.size, int(self.pixel_major))


class NativeWeights:
    """Packed weights of one layer, copied into the library. Addresses are of contiguous CPU memory.

    `block_rows` is None where they are dense. Raises ValueError where the library finds the
    structure damaged.
    """

    block_rows: int | None

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        groups: int,
        block_rows: int,
        row_ptr: int,
        indices: int,
        index_bits: int,
        values: int,
        bias: int | None,
    ) -> None:
        lib = _library()
        desc = _WeightsDesc(*shape, groups, block_rows, row_ptr, indices, index_bits, values, bias)
        handle = ctypes.c_void_p()
        _check(lib.sovs_weights_create(ctypes.byref(desc), ctypes.byref(handle)))
        self._adopt(handle, block_rows)

    def _adopt(self, handle: ctypes.c_void_p, block_rows: int | None) -> None:
        self._handle = handle
        self.block_rows = block_rows
        weakref.finalize(self, _library().sovs_weights_destroy, handle)

    @classmethod
    def dense(
        cls, shape: tuple[int, int, int, int], groups: int, weight: int, bias: int | None
    ) -> NativeWeights:
        """Dense weights (O, I / groups, kh, kw), fp32, for the library's own dense kernels."""
        made = cls.__new__(cls)
        handle = ctypes.c_void_p()
        _check(
            _library().sovs_weights_create_dense(*shape, groups, weight, bias, ctypes.byref(handle))
        )
        made._adopt(handle, None)
        return made

    def release(self) -> None:
        """From here on memory comes first: the weights are held once, and plans of all input sizes
        share them where they can."""
        _check(_library().sovs_weights_release(self._handle))

    def nbytes(self) -> int:
        """Bytes held by the library: the compact copy and the streams of all live plans."""
        return int(_library().sovs_weights_bytes(self._handle))

    def packed_nbytes(self) -> int:
        """Bytes of the compact copy alone."""
        return int(_library().sovs_weights_packed_bytes(self._handle))

    def unpack(self, dense: int) -> None:
        """Writes the dense weight (O, I / groups, kh, kw), fp32, to that address."""
        _check(_library().sovs_weights_unpack(self._handle, dense))

    def candidates(self, spot: ConvSpot, most: int) -> list[Tuning]:
        """Tunings worth timing: what the library would choose itself, then others."""
        found, count = (_Tuning * most)(), ctypes.c_int32(most)
        params, place = spot.structures()
        _check(
            _library().sovs_conv2d_candidates(
                self._handle, ctypes.byref(params), ctypes.byref(place), found, ctypes.byref(count)
            )
        )
        return [Tuning(*(getattr(t, name) for name, _ in _TUNING)) for t in found[: count.value]]

    def time(self, spot: ConvSpot, tunings: Sequence[Tuning], rounds: int) -> list[float]:
        """Seconds that one thread takes there with each tuning: the best of `rounds`."""
        wanted = (_Tuning * len(tunings))(*map(_tuning_of, tunings))
        seconds = (ctypes.c_double * len(tunings))()
        params, place = spot.structures()
        _check(
            _library().sovs_conv2d_time(
                self._handle,
                ctypes.byref(params),
                ctypes.byref(place),
                wanted,
                len(tunings),
                rounds,
                seconds,
            )
        )
        return list(seconds)


def _tuning_of(tuning: Tuning) -> _Tuning:
    return _Tuning(*(getattr(tuning, name) for name, _ in _TUNING))


class Plan:
    """Steps over declared maps, run as one call; built step by step, then finalized.

    Maps go by the numbers that `tensor` gives. Raises ValueError where the library refuses a step.
    """

    def __init__(self) -> None:
        handle = ctypes.c_void_p()
        _check(_library().sovs_plan_create(ctypes.byref(handle)))
        self._adopt(handle)
        self._counts = (0, 0)
        self._steps = 0

    def _adopt(self, handle: ctypes.c_void_p) -> None:
        self._handle = handle
        weakref.finalize(self, _library().sovs_plan_destroy, handle)

    def tensor(self, shape: Sequence[int], layout: int) -> int:
        """Declares a map (N, C, H, W) of layout NCHW or NHWC."""
        name = ctypes.c_int32()
        _check(_library().sovs_plan_add_tensor(self._handle, *shape, layout, ctypes.byref(name)))
        return name.value

    def conv2d(
        self,
        weights: NativeWeights,
        source: int,
        target: int,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        activation: int,
        residual: int | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        """Adds target = activation(conv2d(source) + bias [+ residual]); 0 is none, 1 is ReLU, and
        so on as sovs_activation in the header."""
        self._steps += 1
        params = _Conv2dParams(*stride, *padding, *dilation, activation)
        _check(
            _library().sovs_plan_add_conv2d(
                self._handle,
                weights._handle,
                ctypes.byref(params),
                None if tuning is None else ctypes.byref(_tuning_of(tuning)),
                source,
                -1 if residual is None else residual,
                target,
            )
        )

    def avg_pool2x2(self, source: int, target: int) -> None:
        """Adds target = mean over 2x2 pixels of source, stride 2."""
        self._steps += 1
        _check(_library().sovs_plan_add_avg_pool2x2(self._handle, source, target))

    def layer_norm(
        self,
        source: int,
        target: int,
        channels: int,
        gamma: int | None,
        beta: int | None,
        eps: float,
    ) -> None:
        """Adds target = source normalised over channels; addresses of (C,) floats or None."""
        self._steps += 1
        _check(
            _library().sovs_plan_add_layer_norm(
                self._handle, channels, gamma, beta, eps, source, target
            )
        )

    def attention(
        self,
        source: int,
        queries: int | None,
        target: int,
        heads: int,
        head_channels: int,
        first: Sequence[int],
        scale: float,
    ) -> None:
        """Adds attention; `first` are the channels where queries, keys and values begin, queries
        in a map of their own or in the source."""
        self._steps += 1
        params = _AttentionParams(heads, head_channels, *first, scale)
        own = -1 if queries is None else queries
        _check(
            _library().sovs_plan_add_attention(
                self._handle, ctypes.byref(params), source, own, target
            )
        )

    def tokens(
        self, source: int, target: int, tokens: int, channels: int, constants: int, mean: bool
    ) -> None:
        """Adds target = the source's pixels behind class tokens, plus constants (tokens, C)."""
        self._steps += 1
        _check(
            _library().sovs_plan_add_tokens(
                self._handle, tokens, channels, constants, int(mean), source, target
            )
        )

    def crop(self, source: int, target: int, first: int) -> None:
        """Adds target = the source's pixels from `first` on, as many as it has."""
        self._steps += 1
        _check(_library().sovs_plan_add_crop(self._handle, first, source, target))

    def finalize(self, inputs: Sequence[int], outputs: Sequence[int], threads: int) -> None:
        """Names the maps that the caller passes, and chooses tilings for `threads` threads."""
        given = (ctypes.c_int32 * len(inputs))(*inputs)
        results = (ctypes.c_int32 * len(outputs))(*outputs)
        _check(
            _library().sovs_plan_finalize(
                self._handle, given, len(inputs), results, len(outputs), threads
            )
        )
        self._counts = (len(inputs), len(outputs))

    def run_many(self, inputs: Sequence[int], outputs: Sequence[int], threads: int) -> None:
        """Runs on the addresses of the maps, in the order of finalize; the GIL is released."""
        given = (ctypes.c_void_p * self._counts[0])(*inputs)
        results = (ctypes.c_void_p * self._counts[1])(*outputs)
        _check(_library().sovs_plan_run(self._handle, given, results, threads))

    def time(self, inputs: Sequence[int], outputs: Sequence[int], threads: int) -> list[float]:
        """run_many; seconds spent in each step, in the order in which they were added."""
        given = (ctypes.c_void_p * self._counts[0])(*inputs)
        results = (ctypes.c_void_p * self._counts[1])(*outputs)
        seconds = (ctypes.c_double * self._steps)()
        _check(_library().sovs_plan_time(self._handle, given, results, threads, seconds))
        return list(seconds)

    def step_infos(self) -> list[StepInfo]:
        """What a final plan runs, in order: the steps that were added, and copies at its edge."""
        lib, found = _library(), []
        for i in range(lib.sovs_plan_step_count(self._handle)):
            info = _StepInfo()
            _check(lib.sovs_plan_step_info(self._handle, i, ctypes.byref(info)))
            found.append(
                StepInfo(
                    info.step,
                    None if info.strip_group < 0 else info.strip_group,
                    info.backend.decode(),
                    (info.n, info.c, info.h, info.w),
                    info.tile,
                    info.density,
                    info.tile_rows,
                    info.tile_cols,
                    info.k_tile,
                    info.row_parts,
                    _PANELS[info.panel],
                )
            )
        return found

    def arena_nbytes(self) -> int:
        """Bytes of activations that one run holds inside."""
        return int(_library().sovs_plan_arena_bytes(self._handle))

    def run(self, inputs: Sequence[int], output: int, threads: int) -> None:
        """run_many for a plan of one output."""
        self.run_many(inputs, [output], threads)


class ConvPlan(Plan):
    """A convolution: shapes are (N, C, H, W); inputs are the map and, if wanted, the residual."""

    def __init__(
        self,
        weights: NativeWeights,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        layout: int,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        relu: bool,
        residual: bool,
        threads: int,
    ) -> None:
        super().__init__()
        source, target = self.tensor(in_shape, layout), self.tensor(out_shape, layout)
        added = self.tensor(out_shape, layout) if residual else None
        self.conv2d(weights, source, target, stride, padding, dilation, int(relu), added)
        self.finalize([source] if added is None else [source, added], [target], threads)


class AvgPoolPlan(Plan):
    """A mean over 2x2 pixels, stride 2."""

    def __init__(
        self, in_shape: Sequence[int], out_shape: Sequence[int], layout: int, threads: int
    ) -> None:
        super().__init__()
        source, target = self.tensor(in_shape, layout), self.tensor(out_shape, layout)
        self.avg_pool2x2(source, target)
        self.finalize([source], [target], threads)


class EncoderFile:
    """A whole encoder, read from a plan file; runs inputs of any size. Safe under concurrent calls.

    Raises ValueError where the file is damaged, foreign or newer than the library.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        lib = _library()
        self._handle = ctypes.c_void_p()
        _check(lib.sovs_encoder_load(os.fsencode(path), ctypes.byref(self._handle)))
        weakref.finalize(self, lib.sovs_encoder_destroy, self._handle)
        self.channels = int(lib.sovs_encoder_input_channels(self._handle))
        self.outputs = int(lib.sovs_encoder_output_count(self._handle))
        self.header: str = lib.sovs_encoder_header(self._handle).decode()

    def output_shapes(self, n: int, h: int, w: int) -> list[tuple[int, int, int, int]]:
        """Shapes (N, C, H, W) of the outputs for n images of h x w pixels."""
        shapes = (_Shape * self.outputs)()
        _check(_library().sovs_encoder_outputs(self._handle, n, h, w, shapes))
        return [(s.n, s.c, s.h, s.w) for s in shapes]

    def run(
        self, source: int, n: int, h: int, w: int, outputs: Sequence[int], threads: int
    ) -> None:
        """Runs on the addresses of NCHW maps; the GIL is released."""
        results = (ctypes.c_void_p * self.outputs)(*outputs)
        _check(_library().sovs_encoder_run(self._handle, source, n, h, w, results, threads))

    def plan(self, n: int, h: int, w: int, threads: int, steps: int) -> Plan:
        """The plan that runs such an input, of `steps` steps."""
        handle = ctypes.c_void_p()
        _check(_library().sovs_encoder_plan(self._handle, n, h, w, threads, ctypes.byref(handle)))
        plan = Plan.__new__(Plan)
        plan._adopt(handle)
        plan._counts, plan._steps = (1, self.outputs), steps
        return plan
