"""``bench MODEL``: how long a network takes, against ONNX Runtime where that is installed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

import fracstride as fs
from fracstride.arrays import Array
from fracstride.commands.arguments import (
    BadArgumentError,
    Commands,
    add_command,
    add_model,
    is_saved,
    network_of,
)
from fracstride.commands.printing import say
from fracstride.network.layout import BATCH, TIME, as_tensor

__all__ = ["add", "run", "times_of"]

_LENGTH = 100  # ticks
_LONGEST = 10**5  # ticks of a length that a model fixes
_ROUNDS = 5  # at least
_AGREE = 1e-3  # of the peak; sums in another order differ by less
_TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}

Call = Callable[[], Sequence[Array]]


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands,
        "bench",
        "time a network, and compare it with ONNX Runtime where that is installed",
        "bench vocoder.onnx\n"
        "bench voice.onnx --inputs /Mul_7_output_0 --outputs output --length 200 --threads 2",
    )
    add_model(parser)
    parser.add_argument(
        "--length",
        type=int,
        metavar="T",
        help="length of the input in ticks (default 100, or the model's own)",
    )
    parser.add_argument("--batch", type=int, default=1, metavar="B", help="batch size (default 1)")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of both libraries (default 1)"
    )
    parser.add_argument(
        "--seconds", type=float, default=5, help="seconds to spend, about (default 5)"
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Compare the outputs, then time both in turn."""
    for name in ("length", "batch", "threads"):
        if getattr(given, name) is not None and getattr(given, name) < 1:
            raise BadArgumentError(f"--{name} must be at least 1, got {getattr(given, name)}")
    if not 0 <= given.seconds < float("inf"):
        raise BadArgumentError(f"--seconds must be finite and at least 0, got {given.seconds}")
    try:
        fs.set_num_threads(given.threads)
    except ValueError as error:
        raise BadArgumentError(f"--threads: {error}") from None
    network = network_of(given)
    own = _own_length(given, network)
    if own and given.length and given.length != own:
        raise BadArgumentError(
            f"--length must be {own} ticks, which the file fixes, got {given.length}"
        )
    length = given.length or own or _LENGTH
    inputs = _inputs(network, max(length, network.least), given.batch)
    shapes = [
        f"{v.name or 'input'} {x.shape}" for v, x in zip(network.graph.inputs, inputs, strict=True)
    ]
    say(f"{network!r} on {', '.join(shapes)}, threads: {given.threads}")

    def ours() -> Sequence[Array]:
        found = network(*inputs)
        return found if isinstance(found, tuple) else (found,)

    calls: dict[str, Call] = {"fracstride": ours}
    peer, reason = _peer(given, inputs)
    if peer is None:
        say(reason)
    else:
        calls["ONNX Runtime"] = peer
        _compare(ours(), peer())
    times = times_of(list(calls.values()), given.seconds)
    for name, seconds in zip(calls, np.median(times, axis=0), strict=True):
        say(f"{name:<14}{seconds * 1e3:10.3f} ms")
    if peer is not None:
        ratio = float(np.median(times[:, 1] / times[:, 0]))
        rounds = f"median of {len(times)} rounds"
        say(f"fracstride is {ratio:.2f} times as fast as ONNX Runtime ({rounds})")


def _own_length(given: argparse.Namespace, network: Any) -> int | None:
    """The ticks for which an ONNX model was exported, where its file fixes them."""
    if is_saved(given.model) or network.layouts is None:
        return None
    import onnx

    infos = onnx.load(given.model, load_external_data=False).graph.input
    dims = {info.name: info.type.tensor_type.shape.dim for info in infos}
    for value, axes in zip(network.graph.inputs, network.layouts.inputs, strict=True):
        sizes = dims.get(value.name, ())
        if TIME not in axes or len(sizes) != len(axes):
            continue
        size = sizes[axes.index(TIME)].dim_value  # 0 where it has a name
        if size:
            fits = (clock for clock in range(1, _LONGEST) if value.extent(clock) == size)
            return next(fits, None)
    return None


def _inputs(network: Any, clock: int, batch: int) -> list[Array]:
    """Random signals, and codes that every table has, with the axes that the caller gives."""
    rng, layouts = np.random.default_rng(0), network.layouts
    arrays = []
    for number, value in enumerate(network.graph.inputs):
        shape = batch, value.channels, value.extent(clock)
        dtype = value.dtype(network.dtype)
        array = np.zeros(shape) if value.is_codes else rng.normal(0, 1, shape)
        array = array.astype(dtype)
        if layouts is not None:
            axes = layouts.inputs[number]
            array = as_tensor(array if BATCH in axes else array[:1], axes)
        arrays.append(array)
    return arrays


def _peer(given: argparse.Namespace, inputs: Sequence[Array]) -> tuple[Call | None, str]:
    """The same part of the model in ONNX Runtime, or why there is none."""
    if is_saved(given.model):
        return None, "A saved network has no ONNX model: nothing to compare with."
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return (
            None,
            "ONNX Runtime is not installed (pip install onnxruntime): nothing to compare with.",
        )
    import onnx

    model = onnx.load(given.model)
    if given.inputs or given.outputs:
        names = given.inputs or [value.name for value in model.graph.input]
        ends = given.outputs or [value.name for value in model.graph.output]
        model = onnx.shape_inference.infer_shapes(model)  # a part needs the types of its inputs
        model = onnx.utils.Extractor(model).extract_model(names, ends)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = given.threads
    options.log_severity_level = 4  # what goes wrong is said by the exception
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        wanted = session.get_inputs()
        feed = {
            each.name: x.astype(_TYPES.get(each.type, x.dtype))
            for each, x in zip(wanted, inputs, strict=True)
        }
        session.run(None, feed)
    except Exception as error:  # of kinds of its own
        raise RuntimeError(f"ONNX Runtime cannot run the model: {error}") from None
    return lambda: session.run(None, feed), ""


def _compare(ours: Sequence[Array], theirs: Sequence[Array]) -> None:
    """Say by how much the outputs differ.

    Raises:
        RuntimeError: they do not agree.
    """
    worst = 0.0
    for mine, other in zip(ours, theirs, strict=True):
        if mine.shape != other.shape:
            raise RuntimeError(f"the outputs have the shapes {mine.shape} and {other.shape}")
        wide = np.asarray(other, np.float64)
        peak = float(np.abs(wide).max(initial=0)) or 1.0
        worst = max(worst, float(np.abs(mine - wide).max(initial=0)) / peak)
    if not worst <= _AGREE:
        raise RuntimeError(f"the outputs differ by {worst:.2g} of the peak: no times are compared")
    say(f"the outputs differ by {worst:.2g} of the peak")


def times_of(calls: Sequence[Callable[[], object]], seconds: float, block: float = 0.01) -> Array:
    """Seconds of one call of each, in each round: (rounds, calls). Every round turns the order.

    Args:
        calls: what is timed, each first called twice.
        seconds: that all rounds take, if five rounds do not take longer.
        block: seconds of calls in a row; one call, if that takes longer.
    """
    counts = []
    for call in calls:
        call()
        counts.append(max(1, round(block / _seconds(call, 1))))
    rounds: list[list[float]] = []
    end = perf_counter() + seconds
    while len(rounds) < _ROUNDS or perf_counter() < end:
        row = [0.0] * len(calls)
        for turn in range(len(calls)):
            place = (turn + len(rounds)) % len(calls)
            row[place] = _seconds(calls[place], counts[place])
        rounds.append(row)
    return np.array(rounds)


def _seconds(call: Callable[[], object], count: int) -> float:
    begin = perf_counter()
    for _ in range(count):
        call()
    return max(perf_counter() - begin, 1e-9) / count
