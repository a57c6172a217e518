"""What a network does at each call, as a list that the compiled module goes through by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fracstride._load import native
from fracstride.arrays import Array

__all__ = ["Push", "Steps", "copy", "keeping", "move_rows"]

#: Functions of the compiled module that it keeps as steps.
_NAMES = ("forward", "pointwise", "lstm", "antialiased", "copy", "move_rows")
_METHODS: dict[Any, str] = {getattr(native, name): name for name in _NAMES}


class Steps:
    """Functions that run one after the other.

    Those that are a call of a kernel, a ``partial`` of a function of the compiled module, run there
    without Python between them.
    """

    def __init__(self) -> None:
        self._native = native.Steps()
        # What kernels read by address, such as a bias, is an attribute of the call: ``keep``.
        self._kept: list[Any] = []
        #: Runs all of them.
        self.run: Callable[[], None] = self._native.run
        #: Runs all of them, and gives the seconds of each.
        self.run_timed: Callable[[], list[float]] = self._native.run_timed

    def __call__(self) -> None:
        """Run all of them."""
        self._native.run()

    def add(self, step: Callable[[], object]) -> None:
        """One more at the end: a function, or all of another list."""
        self._kept.append(step)
        if isinstance(step, Steps):
            self._native.nested(step._native)
            return
        method = _METHODS.get(step.func) if isinstance(step, partial) else None
        if method is None or step.keywords:  # type: ignore[attr-defined]
            self._native.call(step)
        else:
            getattr(self._native, method)(*step.args)  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self._native)


class Push:
    """Steps that are given signals and give signals, with nothing of Python between.

    Args:
        steps: what runs.
        after: what runs once the results are copied.
        inputs: where the signals that are given are copied to, ``(B, channels, n)`` each.
        outputs: where the results lie.
    """

    def __init__(
        self, steps: Steps, after: Steps, inputs: Sequence[Array], outputs: Sequence[Array]
    ) -> None:
        push = native.Push(steps._native, after._native)
        for array in inputs:
            push.input(*_place(array))
        for array in outputs:
            push.output(*_place(array))
        # The arrays, in whose memory the addresses are.
        self._kept = steps, after, inputs, outputs
        #: Copies the first signals in and results to the second; False, and nothing is done, where
        #: one has another shape or other elements than these.
        self.run: Callable[[Sequence[Array], Sequence[Array]], bool] = push.run
        self._native = push

    @property
    def seconds(self) -> float:
        """The time of the steps in the last run."""
        return self._native.seconds


def _place(array: Array) -> tuple[int, ...]:
    """Address, strides in elements, shape, bytes of an element."""
    return (*native.signal_of(array)[:4], *array.shape, array.itemsize)


def keeping(call: partial[Any], *objects: Any) -> partial[Any]:
    """A call of a kernel that keeps what it reads by address."""
    call.keep = objects  # type: ignore[attr-defined]
    return call


def copy(target: Array, source: Array) -> Callable[[], object]:
    """A step that copies ``(B, channels, n)``; one position fits to any number of them."""
    address, *strides, _ = native.signal_of(source)
    if source.shape[2] == 1:
        strides[2] = 0
    place = native.signal_of(target)[:4]
    return partial(native.copy, *place, address, *strides, *target.shape, target.itemsize)


def move_rows(target: Array, source: Array) -> Callable[[], object]:
    """A step that copies ``(B, channels, n)`` to an earlier place in the same memory.

    Both have the same strides, rows of positions that lie one after the other, and may overlap.
    """
    batch, channels, count = target.shape
    return partial(
        native.move_rows,
        target.ctypes.data,
        source.ctypes.data,
        batch,
        target.strides[0],
        channels,
        target.strides[1],
        count * target.itemsize,
    )
