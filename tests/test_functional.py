"""The four functions on arrays: errors, operands, ``out``, and bits."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from installed import tf, torch
from numpy.lib.stride_tricks import as_strided

import fracstride as fs
from fracstride import functional, packed
from fracstride._load import native
from fracstride.arguments import MAX_SIZE
from fracstride.extension import PADDING_MODES

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HALF = [np.dtype(np.float16), BFLOAT16]
COMPLEX = [np.dtype(np.complex64), np.dtype(np.complex128)]
DTYPES = [np.dtype(np.float32), np.dtype(np.float64), *HALF, *COMPLEX]
SUPPORTED = "float16, bfloat16, float32, float64, complex64, complex128"


def draw(seed: int, *shape: int, dtype: Any = np.float64) -> Any:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def same_bits(got: Any, wanted: Any) -> None:
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    assert got.tobytes() == wanted.tobytes()


# One call of each function, all of a layer with 4 -> 6 channels in 2 groups, 5 frames, 11 samples.
X, W, B, GY = draw(1, 2, 4, 5), draw(2, 4, 3, 3), draw(3, 6), draw(4, 2, 6, 11)
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "forward": (fs.conv_transpose1d, {"input": X, "weight": W, "bias": B}),
    "input_grad": (
        fs.conv_transpose1d_input_grad,
        {"grad_output": GY, "weight": W, "input_length": 5},
    ),
    "weight_grad": (
        fs.conv_transpose1d_weight_grad,
        {"input": X, "grad_output": GY, "kernel_size": 3},
    ),
    "conv1d_adjoint": (
        fs.conv1d_adjoint,
        {"grad_output": X, "weight": W, "output_length": 11},
    ),
}
LAYER = {"stride": 2, "groups": 2}


def call(name: str, dtype: Any = np.float64, **changes: Any) -> Any:
    """The call of that name in ``dtype``, with other arguments where ``changes`` gives them."""
    function, given = CALLS[name]
    cast = {k: v.astype(dtype) if isinstance(v, np.ndarray) else v for k, v in given.items()}
    return function(**{**cast, **LAYER, **changes})


def operands(name: str) -> list[str]:
    return [key for key, value in CALLS[name][1].items() if isinstance(value, np.ndarray)]


OPERANDS = [(name, operand) for name in CALLS for operand in operands(name)]


def refuses(
    name: str,
    error: type[Exception],
    subject: str,
    got: str,
    dtype: Any = np.float64,
    **changes: Any,
) -> None:
    """The call raises. The message begins with ``subject``, a pattern, and contains the value.

    A forward call does not write to ``out``.
    """
    pattern = rf"^{subject} (must|of|has) .*{re.escape(got)}"
    if name == "forward" and "out" not in changes:
        out = np.full((2, 6, 11), 7.0, dtype)
        with pytest.raises(error, match=pattern):
            call(name, dtype, out=out, **changes)
        assert (out == 7).all()
    with pytest.raises(error, match=pattern):
        call(name, dtype, **changes)


# --- errors: sizes ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("argument", ["stride", "dilation", "groups"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (2**62 + 1, ValueError),
        (-(2**70), ValueError),
        (True, TypeError),
        (np.True_, TypeError),
        (2.0, TypeError),
        (np.float64(2), TypeError),
        ("2", TypeError),
        (None, TypeError),
    ],
)
def test_positive_sizes(name: str, argument: str, value: Any, error: type[Exception]) -> None:
    shown = str(value) if isinstance(value, int) else repr(value)
    refuses(name, error, argument, f"got {shown}", **{argument: value})


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("argument", ["stride", "dilation"])
@pytest.mark.parametrize("value", [(), (1, 2), [1, 2]])
def test_tuples_of_one_size(name: str, argument: str, value: Any) -> None:
    refuses(name, ValueError, argument, f"got {value!r}", **{argument: value})


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (-1, ValueError, "-1"),
        ((1, -1), ValueError, "-1"),
        ((1, 2, 3), ValueError, "(1, 2, 3)"),
        ((), ValueError, "()"),
        ("full", ValueError, "'full'"),
        (2**62 + 1, ValueError, "4611686018427387905"),
        (True, TypeError, "True"),
        ((0, True), TypeError, "True"),
        (1.0, TypeError, "1.0"),
        (None, TypeError, "None"),
    ],
)
def test_padding(name: str, value: Any, error: type[Exception], shown: str) -> None:
    refuses(name, error, "padding", f"got {shown}", padding=value)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("value", "error"), [("edge", ValueError), ("", ValueError), (None, TypeError), (0, TypeError)]
)
def test_padding_mode(name: str, value: Any, error: type[Exception]) -> None:
    refuses(name, error, "padding_mode", f"got {value!r}", padding_mode=value)


@pytest.mark.parametrize("name", ["forward", "input_grad", "weight_grad"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, ValueError),
        (2, ValueError),
        (2**62 + 1, ValueError),
        (True, TypeError),
        (1.0, TypeError),
    ],
)
def test_output_padding(name: str, value: Any, error: type[Exception]) -> None:
    refuses(name, error, "output_padding", f"got {value!r}", output_padding=value)


@pytest.mark.parametrize("name", ["forward", "input_grad", "weight_grad"])
@pytest.mark.parametrize("padding", ["same", "causal"])
def test_output_padding_with_named_padding(name: str, padding: str) -> None:
    refuses(name, ValueError, "output_padding", "got 1", padding=padding, output_padding=1)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("input_grad", "input_length"),
        ("weight_grad", "kernel_size"),
        ("conv1d_adjoint", "output_length"),
    ],
)
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (2**62 + 1, ValueError),
        (True, TypeError),
        (5.0, TypeError),
        (None, TypeError),
        (np.array([5]), TypeError),
    ],
)
def test_lengths(name: str, argument: str, value: Any, error: type[Exception]) -> None:
    refuses(name, error, argument, f"got {value!r}", **{argument: value})


@pytest.mark.parametrize("value", [(2, 3), ()])
def test_kernel_size_of_one_entry(value: Any) -> None:
    refuses("weight_grad", ValueError, "kernel_size", f"got {value!r}", kernel_size=value)


@pytest.mark.parametrize("name", CALLS)
def test_a_refused_value_is_not_taken_for_an_equal_one(name: str) -> None:
    ones = {"forward": (X, W, B), "input_grad": (GY[..., :7], W, 5)}
    ones |= {"weight_grad": (X, GY[..., :7], 3), "conv1d_adjoint": (X, W, 7)}
    function = CALLS[name][0]
    function(*ones[name], stride=1, dilation=1, groups=2, padding=0)
    for argument in ("stride", "dilation"):
        for value in (True, 1.0, (True,)):
            with pytest.raises(TypeError, match=f"^{argument} "):
                function(*ones[name], groups=2, **{argument: value})
    with pytest.raises(TypeError, match=r"^padding "):
        function(*ones[name], groups=2, padding=False)


@pytest.mark.parametrize("name", CALLS)
def test_other_kinds_of_ints(name: str) -> None:
    same_bits(call(name, stride=np.int8(2), groups=np.uint64(2)), call(name))
    same_bits(call(name, stride=(2,), dilation=[np.int64(1)], padding=(0, np.int16(0))), call(name))
    same_bits(call(name, padding="valid"), call(name))


# --- errors: shapes -----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "operand"), [pair for pair in OPERANDS if pair[1] != "bias"])
@pytest.mark.parametrize("shape", [(), (4,), (1, 2, 4, 5)])
def test_ranks(name: str, operand: str, shape: tuple[int, ...]) -> None:
    refuses(name, ValueError, operand, f"got shape {shape}", **{operand: np.ones(shape)})


@pytest.mark.parametrize("name", ["forward", "input_grad", "conv1d_adjoint"])
@pytest.mark.parametrize("shape", [(4, 3), (0, 3, 3), (4, 0, 3), (4, 3, 0)])
def test_shape_of_weight(name: str, shape: tuple[int, ...]) -> None:
    refuses(name, ValueError, "weight", f"got shape {shape}", weight=np.ones(shape))


@pytest.mark.parametrize("shape", [(), (5,), (7,), (0,), (1,), (6, 1), (1, 6)])
def test_shape_of_bias(shape: tuple[int, ...]) -> None:
    refuses("forward", ValueError, "bias", f"(6,), got shape {shape}", bias=np.ones(shape))


@pytest.mark.parametrize(
    ("name", "operand", "channels"),
    [
        ("forward", "input", 4),
        ("input_grad", "grad_output", 6),
        ("conv1d_adjoint", "grad_output", 4),
    ],
)
@pytest.mark.parametrize("wrong", [0, 3, 8])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_channels(
    name: str, operand: str, channels: int, wrong: int, batch: tuple[int, ...]
) -> None:
    for mode in PADDING_MODES:
        length = 11 if name == "input_grad" else 5
        shape = (*batch, wrong, length)
        got = f"{channels} channels as the weight has, got shape {shape}"
        refuses(name, ValueError, operand, got, **{operand: np.ones(shape)}, padding_mode=mode)


@pytest.mark.parametrize("name", ["forward", "input_grad", "conv1d_adjoint"])
@pytest.mark.parametrize("groups", [3, 8, 2**62])
def test_groups_of_weight(name: str, groups: int) -> None:
    refuses(name, ValueError, "groups", f"in_channels = 4, got {groups}", groups=groups)


def test_groups_of_weight_grad() -> None:
    refuses("weight_grad", ValueError, "groups", "in_channels = 4, got 3", groups=3)
    refuses("weight_grad", ValueError, "groups", "out_channels = 6, got 4", groups=4)
    nothing = {"input": np.ones((2, 0, 5)), "groups": 1}
    refuses("weight_grad", ValueError, "groups", "in_channels = 0, got 1", **nothing)
    nothing = {"grad_output": np.ones((2, 0, 11)), "groups": 1}
    refuses("weight_grad", ValueError, "groups", "out_channels = 0, got 1", **nothing)


@pytest.mark.parametrize("name", ["input_grad", "weight_grad"])
@pytest.mark.parametrize("length", [0, 10, 12])
def test_length_of_grad_output(name: str, length: int) -> None:
    got = f"length 11, got shape (2, 6, {length})"
    refuses(name, ValueError, "grad_output", got, grad_output=np.ones((2, 6, length)))


@pytest.mark.parametrize("length", [0, 4, 6])
def test_length_of_grad_output_of_conv1d(length: int) -> None:
    changes = {"grad_output": np.ones((4, length))}
    got = f"length 5, got shape (4, {length})"
    refuses("conv1d_adjoint", ValueError, "grad_output", got, **changes)


@pytest.mark.parametrize("shape", [(6, 11), (1, 6, 11), (3, 6, 11), (0, 6, 11)])
def test_batches_that_differ(shape: tuple[int, ...]) -> None:
    got = f"shape (2, 4, 5), got shape {shape}"
    refuses("weight_grad", ValueError, "grad_output", got, grad_output=np.ones(shape))
    got = f"shape (4, 5), got shape {(1, 6, 11)}"
    changes = {"input": X[0], "grad_output": GY[:1]}
    refuses("weight_grad", ValueError, "grad_output", got, **changes)


@pytest.mark.parametrize("name", ["forward", "weight_grad"])
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_input_without_frames(name: str, mode: str) -> None:
    changes = {"input": X[..., :0], "padding_mode": mode}
    refuses(name, ValueError, "input.*", "got 0", **changes)


@pytest.mark.parametrize("name", ["forward", "input_grad", "weight_grad"])
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("padding", [(6, 5), (0, 2**61), 20])
def test_output_without_samples(name: str, mode: str, padding: Any) -> None:
    changes = {"padding": padding, "padding_mode": mode}
    refuses(name, ValueError, "input.*", "crops all of the 11 samples", **changes)


def test_conv1d_without_samples() -> None:
    changes = {"output_length": 1, "padding": (1, 0), "grad_output": X[..., :1]}
    refuses("conv1d_adjoint", ValueError, "(output_)?length", "got 1", **changes)


def test_same_padding_of_conv1d_needs_stride_1() -> None:
    refuses("conv1d_adjoint", ValueError, "stride", "got 2", padding="same")


@pytest.mark.parametrize("name", ["forward", "input_grad", "weight_grad"])
def test_sizes_beyond_the_largest(name: str) -> None:
    beyond = f"at most 2**62, got {MAX_SIZE + 7}"  # 4*(2**60 + 1) + 2 + 1
    refuses(name, ValueError, ".*stride.*", beyond, stride=2**60 + 1)
    dilation = 2**61 + 1
    beyond = f"at most 2**62, got {2 * dilation + 1}"
    refuses(name, ValueError, "dilation.*", beyond, dilation=dilation)


def test_conv1d_sizes_beyond_the_largest() -> None:
    beyond = f"at most 2**62, got {MAX_SIZE + 11}"
    refuses("conv1d_adjoint", ValueError, ".*length.*", beyond, padding=(MAX_SIZE, 0))
    refuses("conv1d_adjoint", ValueError, "dilation.*", "at most 2**62", dilation=2**62)


HUGE = 2**55  # as a number of values: more than a 64-bit machine has addresses for


@pytest.mark.parametrize(
    "options",
    [
        {"stride": HUGE},
        {"stride": HUGE, "padding": "same"},
        {"stride": HUGE, "padding": "causal"},
        {"stride": HUGE, "output_padding": HUGE - 1},
        {"stride": HUGE, "output_size": 5 * HUGE},
        {"dilation": HUGE},
        {"dilation": HUGE, "padding_mode": "circular"},
        {"dilation": HUGE, "padding": (HUGE, 0), "padding_mode": "reflect"},
    ],
)
def test_more_memory_than_there_is(options: dict[str, Any]) -> None:
    for dtype in DTYPES:
        with pytest.raises((MemoryError, ValueError)):
            call("forward", dtype, **options)


def test_more_memory_than_there_is_for_out() -> None:
    one = np.full(1, 7.0)
    out = as_strided(one, (2, 6, HUGE + 7), (0, 0, 0))
    x = X[..., :2]
    with pytest.raises((MemoryError, ValueError)):
        call("forward", input=x, stride=HUGE + 4, out=out)
    assert one == 7


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory was used")
@pytest.mark.parametrize("mode", PADDING_MODES[1:])
def test_more_frames_outside_the_input_than_memory(mode: str) -> None:
    """Known before memory is filled, in a process of its own that may not have much."""
    script = f"""
import resource
import numpy as np
import fracstride as fs
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
w = np.ones((1, 1, 2), "f4")
for length in (2**32, 2**55, 2**60):
    gy = np.broadcast_to(np.float32(1), (1, 1, length))
    try:
        fs.conv_transpose1d_input_grad(gy, w, 1, dilation=length - 1, padding_mode="{mode}")
    except MemoryError:
        print(length.bit_length() - 1)
# (getrusage would count the process that started this one.)
status = open("/proc/self/status").read()
print(int(status.split("VmHWM:")[1].split()[0]) < 500_000)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["32", "55", "60", "True"]


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_more_memory_than_there_is_for_gradients(mode: str) -> None:
    gy, x = draw(1, 6, 3), draw(2, 4, HUGE.bit_length())
    with pytest.raises((MemoryError, ValueError)):
        call("input_grad", grad_output=gy, input_length=HUGE, padding=(2, 2 * HUGE - 4))
    with pytest.raises((MemoryError, ValueError)):
        call("weight_grad", input=x[:, :2], grad_output=gy, kernel_size=HUGE, padding=(0, HUGE - 1))
    options = {"stride": HUGE, "padding_mode": mode}
    with pytest.raises((MemoryError, ValueError)):
        call("conv1d_adjoint", grad_output=x[:, :2], output_length=HUGE + 3, **options)


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_large_steps_with_small_results(mode: str) -> None:
    # Only frame 0 reaches samples, and only the first two, so the length of a step does not matter.
    given = {"input": X[..., :1], "padding_mode": mode}
    y = call("forward", **given, stride=HUGE)
    same_bits(y, call("forward", **given, stride=8))
    given = {"grad_output": GY[..., :3], "input_length": 1, "padding_mode": mode}
    gx = call("input_grad", **given, stride=HUGE)
    same_bits(gx, call("input_grad", **given, stride=8))
    given = {"input": X[..., :1], "grad_output": GY[..., :3], "padding_mode": mode}
    gw = call("weight_grad", **given, stride=HUGE)
    same_bits(gw, call("weight_grad", **given, stride=8))


# --- errors: dtypes -----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "operand"), OPERANDS)
@pytest.mark.parametrize(
    "dtype",
    ["int64", "uint8", "bool", "object", "U1", "S1", "datetime64[s]", "longdouble", "f4,f4"],
)
def test_unsupported_dtypes(name: str, operand: str, dtype: str) -> None:
    if dtype == "longdouble" and np.longdouble(0).itemsize == 8:
        dtype = "int8"  # there longdouble is float64
    wrong = np.zeros(CALLS[name][1][operand].shape, dtype)
    got = f"{SUPPORTED}, got dtype {wrong.dtype}"
    refuses(name, TypeError, operand, got, **{operand: wrong})


@pytest.mark.parametrize(("name", "operand"), OPERANDS)
@pytest.mark.parametrize(
    "value",
    [[["a"]], [["1"]], [[None]], [[1.0], [1.0, 2.0]], [[10**400]], [[1.0, 10**400]], [[{}]]],
    ids=repr,
)
def test_lists_of_something_else(name: str, operand: str, value: Any) -> None:
    refuses(name, TypeError, operand, "", **{operand: value})


@pytest.mark.parametrize(("name", "operand"), OPERANDS)
@pytest.mark.parametrize("value", ["abc", b"abc", {}, {1.0}, object(), iter([1.0])], ids=type)
def test_operands_that_are_no_arrays(name: str, operand: str, value: Any) -> None:
    refuses(name, TypeError, operand, "", **{operand: value})


@pytest.mark.parametrize(("name", "operand"), [pair for pair in OPERANDS if pair[1] != "bias"])
def test_none_for_an_operand(name: str, operand: str) -> None:
    refuses(name, TypeError, operand, "", **{operand: None})


@pytest.mark.parametrize(("name", "operand"), OPERANDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_that_differ(name: str, operand: str, dtype: np.dtype[Any]) -> None:
    for other in DTYPES:
        if dtype == other:
            continue
        wrong = CALLS[name][1][operand].astype(other)
        first, *rest = operands(name)
        if operand == first:
            named, wanted, got = rest[0], other, dtype
        else:
            named, wanted, got = operand, dtype, other
        text = f"of {first}, {wanted}, got {got}"
        refuses(name, TypeError, named, text, dtype, **{operand: wrong})


@pytest.mark.parametrize(("name", "operand"), OPERANDS)
def test_complex_lists_beside_real_arrays(name: str, operand: str) -> None:
    value = (CALLS[name][1][operand] + 1j).tolist()
    refuses(name, TypeError, operand, "float64", **{operand: value})


# --- output_size --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"stride": 2}, (11, 12)),
        ({"stride": 5, "padding": (3, 1)}, (19, 23)),
        ({"stride": 2, "dilation": 4, "padding": 2}, (13, 14)),
        ({"stride": 1, "dilation": 4}, (13, 13)),
        ({"stride": 3, "output_padding": 2}, (15, 17)),
        ({"stride": 4, "padding": (0, 20)}, (1, 2)),
    ],
)
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_output_size(options: dict[str, Any], sizes: tuple[int, int], mode: str) -> None:
    options = {**options, "padding_mode": mode}
    smallest, largest = sizes
    base = largest - options["stride"] + 1
    for size in range(smallest, largest + 1):
        plain = call("forward", **{**options, "output_padding": size - base})
        assert plain.shape == (2, 6, size)
        same_bits(call("forward", **options, output_size=size), plain)
        for form in ((size,), [size], (6, size), (2, 6, size), (None, "?", size), np.int64(size)):
            same_bits(call("forward", **options, output_size=form), plain)
        out = np.empty(plain.shape)
        assert call("forward", **options, output_size=size, out=out) is out
        same_bits(out, plain)
    for size in (smallest - 1, largest + 1, 2**62):
        got = f"from {smallest} to {largest} for input length 5, got {size}"
        if size == 0:
            got = "got 0"
        refuses("forward", ValueError, "output_size", got, **options, output_size=size)


@pytest.mark.parametrize("padding", ["same", "causal"])
def test_output_size_with_named_padding(padding: str) -> None:
    got = f"None with padding={padding!r}, which makes L_out = L*stride by itself, got 10"
    refuses("forward", ValueError, "output_size", got, padding=padding, output_size=10)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (2**62 + 1, ValueError),
        ((), ValueError),
        ((1, 2, 6, 11), ValueError),
        (True, TypeError),
        (11.0, TypeError),
        ("11", TypeError),
        (np.array([11, 11]), TypeError),
    ],
)
def test_output_size_that_is_none(value: Any, error: type[Exception]) -> None:
    refuses("forward", error, "output_size", f"got {value!r}", output_size=value)


# --- operands of every kind ---------------------------------------------------------------------


def contiguous(a: Any) -> Any:
    return np.array(a, order="C")


def fortran(a: Any) -> Any:
    return np.array(a, order="F")


def reversed_(a: Any) -> Any:
    return np.array(a[::-1, ..., ::-1] if a.ndim > 1 else a[::-1], order="C")[
        (slice(None, None, -1), ..., slice(None, None, -1))[: 3 if a.ndim > 1 else 1]
    ]


def strided(a: Any) -> Any:
    wide = np.full([3 * n + 2 for n in a.shape], 9, a.dtype)
    view = wide[tuple(slice(1, 1 + 3 * n, 3) for n in a.shape)]
    view[...] = a
    return view


def swapped(a: Any) -> Any:
    if a.dtype == BFLOAT16:  # ml_dtypes has one byte order
        return contiguous(a)
    return a.astype(a.dtype.newbyteorder("S"))


def swapped_and_strided(a: Any) -> Any:
    return strided(swapped(a))


def unaligned(a: Any) -> Any:
    raw = bytearray(a.nbytes + 1)
    view = np.frombuffer(raw, a.dtype, a.size, offset=1).reshape(a.shape)
    view[...] = a
    return view


def field(a: Any) -> Any:
    """A field of packed records: strides that are no multiple of the itemsize."""
    records = np.zeros(a.shape, [("before", "i1"), ("value", a.dtype), ("after", "i2")])
    records["value"] = a
    return records["value"]


def field_in_the_middle(a: Any) -> Any:
    """The same with a contiguous last axis."""
    records = np.zeros(a.shape[:-1], [("before", "i1"), ("value", a.dtype, a.shape[-1:])])
    records["value"] = a
    return records["value"]


def aligned_field(a: Any) -> Any:
    """Strides that are a multiple of the itemsize for some dtypes only, all aligned."""
    fields = [("value", a.dtype), ("after", "i2")]
    records = np.zeros(a.shape, np.dtype(fields, align=True))
    records["value"] = a
    return records["value"]


LAYOUTS = [
    contiguous,
    fortran,
    reversed_,
    strided,
    swapped,
    swapped_and_strided,
    unaligned,
    field,
    field_in_the_middle,
    aligned_field,
]


def test_the_layouts_are_what_they_are_called() -> None:
    for layout in LAYOUTS:
        for a in (X, B, W):
            assert layout(a).shape == a.shape
            assert (layout(a) == a).all()
    assert not fortran(X).flags.c_contiguous
    assert all(stride < 0 for stride in (reversed_(X).strides[0], reversed_(X).strides[2]))
    assert reversed_(B).strides[0] < 0
    assert not swapped(X).dtype.isnative
    assert not unaligned(X).flags.aligned
    assert unaligned(X).flags.c_contiguous
    assert field(X).strides[2] == 11
    assert field_in_the_middle(X).strides[1:] == (41, 8)
    assert aligned_field(X).flags.aligned
    assert aligned_field(X.astype(np.complex128)).strides[2] == 24


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_operands(name: str, layout: Callable[[Any], Any]) -> None:
    for dtype in DTYPES:
        for mode in ("zeros", "reflect"):
            plain = call(name, dtype, padding_mode=mode)
            placed = {}
            for operand in operands(name):
                placed[operand] = layout(CALLS[name][1][operand].astype(dtype))
                before = placed[operand].tobytes()
                placed[operand].flags.writeable = False
                same_bits(call(name, dtype, **{operand: placed[operand]}, padding_mode=mode), plain)
                assert placed[operand].tobytes() == before
            same_bits(call(name, dtype, **placed, padding_mode=mode), plain)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_kernels_see_aligned_arrays_only(
    name: str, layout: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(native, name)

        def signal_of(self, array: Any) -> Any:
            seen.append(array)
            return native.signal_of(array)

    for module in (functional, packed):
        monkeypatch.setattr(module, "native", Watched())
    for dtype in DTYPES:
        placed = {key: layout(CALLS[name][1][key].astype(dtype)) for key in operands(name)}
        if name == "forward":
            placed["out"] = layout(np.zeros((2, 6, 11), dtype))
        call(name, dtype, **placed)
    assert len(seen) >= 3 * len(DTYPES)
    for array in seen:
        assert array.dtype.name in ("float32", "float64", "float16", "bfloat16")
        assert array.dtype.isnative
        assert array.flags.aligned
        assert not any(stride % array.itemsize for stride in array.strides)


@pytest.mark.parametrize("name", CALLS)
def test_broadcast_operands(name: str) -> None:
    for dtype in DTYPES:
        for operand in operands(name):
            a = CALLS[name][1][operand].astype(dtype)
            for axis in range(a.ndim):
                wide = np.broadcast_to(np.take(a, [0], axis), a.shape)
                assert wide.strides[axis] == 0
                plain = call(name, dtype, **{operand: contiguous(wide)})
                same_bits(call(name, dtype, **{operand: wide}), plain)


@pytest.mark.parametrize("name", CALLS)
def test_lists_and_numbers(name: str) -> None:
    def nested(a: Any, kind: Any) -> Any:
        return kind(nested(part, kind) for part in a) if isinstance(a, list) else a

    plain = call(name)
    lists = {operand: CALLS[name][1][operand].tolist() for operand in operands(name)}
    same_bits(call(name, **lists), plain)
    same_bits(call(name, **{key: nested(value, tuple) for key, value in lists.items()}), plain)
    for operand in lists:
        same_bits(call(name, **{operand: lists[operand]}), plain)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_lists_of_ints_take_the_dtype_of_the_arrays(name: str, dtype: np.dtype[Any]) -> None:
    for operand in operands(name):
        ints = np.rint(3 * CALLS[name][1][operand]).astype(int)
        plain = call(name, dtype, **{operand: ints.astype(dtype)})
        assert plain.dtype == dtype
        same_bits(call(name, dtype, **{operand: ints.tolist()}), plain)
        arrays_inside = list(ints.astype(np.float32))
        same_bits(call(name, dtype, **{operand: arrays_inside}), plain)


@pytest.mark.parametrize("name", CALLS)
def test_lists_alone_are_float64_or_complex128(name: str) -> None:
    ints = {key: np.rint(3 * CALLS[name][1][key]).astype(int) for key in operands(name)}
    plain = call(name, **{key: value.astype(np.float64) for key, value in ints.items()})
    same_bits(call(name, **{key: value.tolist() for key, value in ints.items()}), plain)
    for with_imaginary in operands(name):  # one complex number makes all of them complex
        mixed = {key: value.astype(np.complex128) for key, value in ints.items()}
        mixed[with_imaginary] = mixed[with_imaginary] * (1 - 2j)
        lists = {key: value.tolist() for key, value in ints.items()}
        lists[with_imaginary] = mixed[with_imaginary].tolist()
        same_bits(call(name, **lists), call(name, **mixed))


def test_numbers_too_large_for_the_dtype_become_infinite() -> None:
    y = fs.conv_transpose1d([[1e300, 1.0]], np.ones((1, 1, 1), np.float32))
    assert y.dtype == np.float32
    assert y.tolist() == [[np.inf, 1.0]]


def test_array_like_objects_and_subclasses() -> None:
    class Wrapped:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return self.array

    class Named(np.ndarray):
        pass

    plain = call("forward")
    same_bits(call("forward", input=Wrapped(X), weight=Wrapped(W), bias=Wrapped(B)), plain)
    got = call("forward", input=X.view(Named), weight=torch.from_numpy(W), bias=B.view(Named))
    assert type(got) is np.ndarray
    same_bits(got, plain)
    same_bits(call("forward", input=memoryview(X)), plain)


# --- batch --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_without_batch(name: str, dtype: np.dtype[Any]) -> None:
    for mode in PADDING_MODES:
        batched = [operand for operand in operands(name) if operand in ("input", "grad_output")]
        arrays = {operand: CALLS[name][1][operand].astype(dtype) for operand in batched}
        single = call(name, dtype, **{k: a[1] for k, a in arrays.items()}, padding_mode=mode)
        plain = call(name, dtype, **{k: a[1:] for k, a in arrays.items()}, padding_mode=mode)
        same_bits(single, plain if name == "weight_grad" else plain[0])
        assert single.ndim == (3 if name == "weight_grad" else 2)
        if name != "weight_grad":
            same_bits(call(name, dtype, padding_mode=mode)[1], single)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_empty_batch(name: str, dtype: np.dtype[Any]) -> None:
    for mode in PADDING_MODES:
        full = call(name, dtype, padding_mode=mode)
        batched = [operand for operand in operands(name) if operand in ("input", "grad_output")]
        empty = {operand: CALLS[name][1][operand].astype(dtype)[:0] for operand in batched}
        got = call(name, dtype, **empty, padding_mode=mode)
        assert got.dtype == dtype
        if name == "weight_grad":
            assert got.shape == full.shape
            assert not got.any()
        else:
            assert got.shape == (0, *full.shape[1:])
        if name == "forward":
            out = np.empty((0, 6, 11), dtype)
            assert call(name, dtype, **empty, padding_mode=mode, out=out) is out


def test_empty_batch_is_checked_all_the_same() -> None:
    got = "got shape (0, 3, 5)"
    refuses("forward", ValueError, "input", got, input=np.ones((0, 3, 5)))


# --- out ----------------------------------------------------------------------------------------


def of_batch_one(a: Any) -> Any:
    """Sliding windows and repeated elements: memory that would be written more than once."""
    return as_strided(np.zeros(40, a.dtype), a.shape, (0, a.itemsize, a.itemsize))


def repeated_channels(a: Any) -> Any:
    base = np.zeros((a.shape[0], 1, a.shape[2]), a.dtype)
    return as_strided(base, a.shape, (base.strides[0], 0, base.strides[2]))


def interleaved(a: Any) -> Any:
    """No element occurs twice, though the strides do not nest."""
    step = 5 * a.itemsize
    inner = 3 * a.itemsize  # elements at 3*i + 5*j, i < 5: distinct where i repeats by 5
    base = np.zeros(400, a.dtype)
    shape = (a.shape[0], 1, 5)
    return as_strided(base, shape, (100 * a.itemsize, step, inner))


OUT_LAYOUTS = [*LAYOUTS, of_batch_one, repeated_channels]


def memory_of(array: Any) -> bytes:
    """All bytes of the array that owns the memory, the ones between the elements too."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return bytes(array.base) if isinstance(array.base, bytearray) else array.tobytes()


@pytest.mark.parametrize("layout", OUT_LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layout_of_out(layout: Callable[[Any], Any], dtype: np.dtype[Any]) -> None:
    for mode in ("zeros", "circular"):
        for rank in (2, 3):
            given = {"padding_mode": mode, "input": (X if rank == 3 else X[0]).astype(dtype)}
            plain = call("forward", dtype, **given)
            out, wanted = layout(np.zeros_like(plain[None] if rank == 2 else plain)), None
            wanted = layout(np.zeros_like(plain[None] if rank == 2 else plain))
            if rank == 2:
                out, wanted = out[0], wanted[0]
            wanted[...] = plain  # exactly the bytes that NumPy would write
            assert call("forward", dtype, **given, out=out) is out
            assert memory_of(out) == memory_of(wanted)
            if layout not in (of_batch_one, repeated_channels):
                assert out.astype(dtype).tobytes() == plain.tobytes()


def test_out_whose_strides_do_not_nest() -> None:
    x, w = draw(5, 2, 1, 5), draw(6, 1, 1, 1)
    plain = fs.conv_transpose1d(x, w)
    out = interleaved(plain)
    assert fs.conv_transpose1d(x, w, out=out) is out
    same_bits(contiguous(out), plain)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_out_of_one_sample_or_channel(dtype: np.dtype[Any]) -> None:
    # Axes of one element may have any stride.
    x, w = draw(5, 1, 1, 3, dtype=dtype), draw(6, 1, 4, 2, dtype=dtype)
    plain = fs.conv_transpose1d(x, w)
    base = np.zeros(plain.size, dtype)
    out = as_strided(base, plain.shape, (3, 4 * dtype.itemsize, dtype.itemsize))
    assert fs.conv_transpose1d(x, w, out=out) is out
    same_bits(base.reshape(plain.shape), plain)


def test_random_strides_of_out() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        shape = tuple(int(n) for n in rng.integers(1, 5, 3))
        x, w = draw(7, shape[0], 2, shape[2]), draw(8, 2, shape[1], 1)
        axes, steps, more = rng.permutation(3), rng.integers(1, 4, 3), rng.integers(0, 3, 3)
        base = np.zeros([shape[a] * steps[a] + more[a] for a in axes])
        cut = tuple(slice(more[a], more[a] + shape[a] * steps[a], steps[a]) for a in axes)
        turned = tuple(slice(None, None, int(rng.choice([-1, 1]))) for _ in axes)
        out = base[cut][turned].transpose(np.argsort(axes))
        plain = fs.conv_transpose1d(x, w)
        assert fs.conv_transpose1d(x, w, out=out) is out
        same_bits(contiguous(out), plain)
        out[...] = 0
        assert not base.any()


@pytest.mark.parametrize("value", [[[0.0]], 1, "out", object(), (), bytearray(8)], ids=type)
def test_out_that_is_no_array(value: Any) -> None:
    refuses("forward", TypeError, "out", f"got {type(value).__name__}", out=value)


@pytest.mark.parametrize("shape", [(6, 11), (1, 6, 11), (2, 6, 10), (2, 6, 12), (2, 6, 11, 1), ()])
def test_shape_of_out(shape: tuple[int, ...]) -> None:
    out = np.full(shape, 7.0)
    refuses("forward", ValueError, "out", f"(2, 6, 11), got {shape}", out=out)
    assert (out == 7).all()
    if shape != (6, 11):
        refuses("forward", ValueError, "out", f"(6, 11), got {shape}", out=out, input=X[0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtype_of_out(dtype: np.dtype[Any]) -> None:
    for other in [*DTYPES, np.dtype(np.int64), np.dtype(object)]:
        if dtype != other:
            out = np.full((2, 6, 11), 7, other)
            refuses("forward", TypeError, "out", f"{dtype}, got {other}", dtype, out=out)
            assert (out == 7).all()


def test_out_that_is_read_only() -> None:
    out = np.full((2, 6, 11), 7.0)
    out.flags.writeable = False
    refuses("forward", ValueError, "out", "read-only", out=out)
    broadcast = np.broadcast_to(np.full(1, 7.0), (2, 6, 11))
    refuses("forward", ValueError, "out", "read-only", out=broadcast)
    assert (out == 7).all()


def overlaps(x: Any, w: Any, b: Any, out: Any) -> None:
    base = out
    while isinstance(base.base, np.ndarray):
        base = base.base
    before = base.tobytes()
    with pytest.raises(ValueError, match=r"^out must not overlap an operand"):
        fs.conv_transpose1d(x, w, b, out=out)
    assert base.tobytes() == before


def test_out_that_overlaps_what_is_no_array() -> None:
    memory = np.arange(12.0)
    out = memory.reshape(1, 2, 6)
    overlaps(np.ones((1, 2, 4)), memoryview(memory.reshape(2, 2, 3)), None, out)


@pytest.mark.parametrize("layout", [contiguous, strided, swapped, unaligned])
def test_out_that_overlaps_an_operand(layout: Callable[[Any], Any]) -> None:
    for dtype in DTYPES:
        one = np.ones((1, 1, 1), dtype)
        x = layout(draw(1, 2, 1, 6, dtype=dtype))
        overlaps(x, one, None, x)
        overlaps(x, one, None, x[::-1, :, ::-1])
        overlaps(x[..., :4], one, None, x[..., 2:])
        w = layout(draw(2, 1, 2, 4, dtype=dtype))
        overlaps(np.ones((1, 1), dtype), w, None, w[0])
        b = layout(draw(3, 3, dtype=dtype))
        overlaps(np.ones((1, 1), dtype), np.ones((1, 3, 1), dtype), b, b.reshape(3, 1))


def test_out_beside_the_operands_in_one_array() -> None:
    base = draw(1, 2, 3, 20)
    x, out = base[:, :2, 0:10:2], base[:, 1:, 1:10:2]
    w = draw(2, 2, 2, 1)
    plain = fs.conv_transpose1d(x.copy(), w)
    kept = base.copy()
    assert fs.conv_transpose1d(x, w, out=out) is out
    same_bits(contiguous(out), plain)
    kept[:, 1:, 1:10:2] = plain
    same_bits(base, kept)


def test_errors_that_come_late_leave_out_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(packed, "split_weight", fail)
    out = np.full((2, 6, 11), 7.0)
    with pytest.raises(MemoryError):
        call("forward", out=out)
    assert (out == 7).all()


# --- complex and half precision -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", COMPLEX, ids=str)
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("groups", [1, 2])
def test_complex_is_four_real_calls(dtype: np.dtype[Any], mode: str, groups: int) -> None:
    options = {"stride": 2, "padding": (1, 2), "groups": groups, "padding_mode": mode}
    x, w = draw(1, 2, 4, 5, dtype=dtype), draw(2, 4, 6 // groups, 4, dtype=dtype)
    b, gy = draw(3, 6, dtype=dtype), draw(4, 2, 6, 9, dtype=dtype)
    tolerance = 1e-4 if dtype == np.complex64 else 1e-12

    def check(function: Callable[[Any, Any], Any], u: Any, v: Any, rest: Any = 0) -> None:
        got = function(u, v)
        assert got.dtype == dtype
        real = function(u.real, v.real) - function(u.imag, v.imag)
        imaginary = function(u.real, v.imag) + function(u.imag, v.real)
        wanted = real + 1j * imaginary
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance)

    check(lambda u, v: fs.conv_transpose1d(u, v, **options), x, w)
    check(lambda u, v: fs.conv_transpose1d_input_grad(u, v, 5, **options), gy, w)
    check(lambda u, v: fs.conv_transpose1d_weight_grad(u, v, 4, **options), x, gy)
    check(lambda u, v: fs.conv1d_adjoint(u, v, 9, **options), x, w)
    with_bias = fs.conv_transpose1d(x, w, b, **options)
    without = fs.conv_transpose1d(x, w, **options)
    np.testing.assert_allclose(with_bias, without + b[:, None], rtol=0, atol=tolerance)


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_the_adjoints_conjugate_nothing(mode: str) -> None:
    options = {"stride": 2, "padding": (1, 2), "groups": 2, "padding_mode": mode}
    dtype = np.complex128
    x, w, gy = (
        draw(1, 2, 4, 5, dtype=dtype),
        draw(2, 4, 3, 4, dtype=dtype),
        draw(4, 2, 6, 9, dtype=dtype),
    )
    product = (fs.conv_transpose1d(x, w, **options) * gy).sum()
    gx = fs.conv_transpose1d_input_grad(gy, w, 5, **options)
    gw = fs.conv_transpose1d_weight_grad(x, gy, 4, **options)
    np.testing.assert_allclose((x * gx).sum(), product, rtol=1e-12)
    np.testing.assert_allclose((w * gw).sum(), product, rtol=1e-12)
    np.testing.assert_allclose(1j * gx, fs.conv_transpose1d_input_grad(1j * gy, w, 5, **options))
    np.testing.assert_allclose(1j * gx, fs.conv_transpose1d_input_grad(gy, 1j * w, 5, **options))
    np.testing.assert_allclose(1j * gw, fs.conv_transpose1d_weight_grad(1j * x, gy, 4, **options))
    np.testing.assert_allclose(1j * gw, fs.conv_transpose1d_weight_grad(x, 1j * gy, 4, **options))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("padding", [0, (2, 3)])
def test_half_precision_is_added_up_in_float32(
    name: str, dtype: np.dtype[Any], mode: str, padding: Any
) -> None:
    options: dict[str, Any] = {"padding": padding, "padding_mode": mode}
    if padding and name in ("input_grad", "weight_grad"):
        options["grad_output"] = GY[..., :6].astype(dtype)
    if padding and name == "conv1d_adjoint":
        options["output_length"] = 6
    wide = {key: v.astype(dtype).astype(np.float32) for key, v in CALLS[name][1].items()
            if isinstance(v, np.ndarray)}  # fmt: skip
    wide |= {key: v.astype(np.float32) for key, v in options.items() if isinstance(v, np.ndarray)}
    in_float32 = call(name, np.float32, **{**options, **wide})
    same_bits(call(name, dtype, **options), in_float32.astype(dtype))
    if name == "forward":
        out = np.empty(in_float32.shape, dtype)
        same_bits(call(name, dtype, **options, out=out), in_float32.astype(dtype))


def test_half_precision_overflows_to_infinity() -> None:
    x = np.array([[60000.0, -60000.0, 1.0]], np.float16)
    two = np.full((1, 1, 1), 2, np.float16)
    assert fs.conv_transpose1d(x, two).tolist() == [[np.inf, -np.inf, 2.0]]
    gx = fs.conv_transpose1d_input_grad(x, two, 3)
    assert gx.tolist() == [[np.inf, -np.inf, 2.0]]
    gw = fs.conv_transpose1d_weight_grad(x, x, 1)
    assert gw.tolist() == [[[np.inf]]]
    ends = {"padding": (1, 1), "padding_mode": "replicate"}
    one = np.ones((1, 1, 1), np.float16)
    gx = fs.conv1d_adjoint(x[:, [0, 0, 2, 1, 1]], one, 3, **ends)
    assert gx.tolist() == [[np.inf, 1.0, -np.inf]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_nan_and_infinity_raise_no_warning(dtype: np.dtype[Any], mode: str) -> None:
    for value in (np.nan, np.inf):
        x, gy = X.astype(dtype), GY.astype(dtype)
        x[0, 0, 0] = gy[0, 0, 0] = value
        options = {"padding_mode": mode}
        clean = call("forward", dtype, **options)
        y = call("forward", dtype, input=x, **options)
        assert not np.isfinite(y[0, :3, 0]).any()
        same_bits(y[1], clean[1])
        same_bits(y[0, 3:], clean[0, 3:])
        assert not np.isfinite(call("input_grad", dtype, grad_output=gy, **options)[0, 0, 0])
        assert not np.isfinite(call("weight_grad", dtype, input=x, **options)[0]).all()
        adjoint = call("conv1d_adjoint", dtype, grad_output=x, **options)
        assert not np.isfinite(adjoint[0, :3, 0]).any()


# --- conv1d_adjoint -----------------------------------------------------------------------------

TORCH_PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate"}
TORCH_PAD["circular"] = "circular"


def close(got: Any, wanted: torch.Tensor) -> None:
    expected = wanted.numpy()
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    tolerance = 1e-4 if got.dtype == np.float32 else 1e-11
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize(
    ("stride", "padding"),
    [(s, p) for s in (1, 2, 3) for p in (0, 1, 4, "valid")] + [(1, "same")],
)
@pytest.mark.parametrize("name", ["float64", "float32"])
def test_conv1d_adjoint_is_the_gradient_of_torch_conv1d(
    mode: str, stride: int, padding: Any, name: str
) -> None:
    dtype = getattr(torch, name)
    for dilation, groups, length in itertools.product((1, 2), (1, 2), (10, 11, 12)):
        layer = torch.nn.Conv1d(
            6, 4, 4, stride, padding, dilation, groups, False, mode, dtype=dtype
        )
        weight = torch.from_numpy(draw(1, *layer.weight.shape)).to(dtype)
        with torch.no_grad():
            layer.weight.copy_(weight)
        x = torch.from_numpy(draw(2, 2, 6, length)).to(dtype).requires_grad_()
        y = layer(x)
        gy = torch.from_numpy(draw(3, *y.shape)).to(dtype)
        (gx,) = torch.autograd.grad(y, x, gy)
        options = {"stride": stride, "padding": padding, "groups": groups, "dilation": dilation}
        got = fs.conv1d_adjoint(gy.numpy(), weight.numpy(), length, **options, padding_mode=mode)
        close(got, gx)


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [(0, 3), (4, 0), (1, 5), "causal"])
@pytest.mark.parametrize("kernel", [1, 2, 4])
def test_conv1d_adjoint_with_two_sided_padding(
    mode: str, stride: int, padding: Any, kernel: int
) -> None:
    dilation, groups = 2, 2
    pads = (dilation * (kernel - 1), 0) if padding == "causal" else padding
    for length in (9, 10, 11):
        weight = torch.from_numpy(draw(1, 4, 3, kernel))
        x = torch.from_numpy(draw(2, 2, 6, length)).requires_grad_()
        padded = tf.pad(x, pads, TORCH_PAD[mode])
        y = tf.conv1d(padded, weight, None, stride, 0, dilation, groups)
        gy = torch.from_numpy(draw(3, *y.shape))
        (gx,) = torch.autograd.grad(y, x, gy)
        options = {"stride": stride, "padding": padding, "groups": groups, "dilation": dilation}
        got = fs.conv1d_adjoint(gy.numpy(), weight.numpy(), length, **options, padding_mode=mode)
        close(got, gx)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("padding", [0, 1, (0, 3), (2, 1), (4, 4)])
@pytest.mark.parametrize("stride", [1, 3])
def test_conv1d_adjoint_with_zeros_is_the_transposed_convolution(
    dtype: np.dtype[Any], padding: Any, stride: int
) -> None:
    w = draw(1, 4, 3, 3, dtype=dtype)
    left, right = padding if isinstance(padding, tuple) else (padding, padding)
    for length in (7, 8, 9, 10):
        frames = (length + left + right - 5) // stride + 1
        gy = draw(2, 2, 4, frames, dtype=dtype)
        options = {"stride": stride, "padding": padding, "groups": 2, "dilation": 2}
        wanted = fs.conv_transpose1d(gy, w, **options, output_size=length)
        same_bits(fs.conv1d_adjoint(gy, w, length, **options), wanted)


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_conv1d_adjoint_without_padding_is_the_same_in_every_mode(mode: str) -> None:
    same_bits(call("conv1d_adjoint", padding_mode=mode), call("conv1d_adjoint"))


def test_conv1d_adjoint_is_not_the_extending_layer() -> None:
    # (With stride 1 and circular padding it is.)
    for mode in PADDING_MODES[1:]:
        options = {"padding": 2, "padding_mode": mode}
        folded = call("conv1d_adjoint", **options, output_length=7)
        assert abs(folded - call("forward", **options, bias=None)).max() > 0.1
