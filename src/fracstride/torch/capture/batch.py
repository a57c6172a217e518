"""Which inputs have a batch: found by trying."""

from __future__ import annotations

from torch import Tensor

from fracstride.network.recording import Conditions
from fracstride.torch.capture.agreement import difference
from fracstride.torch.capture.align import align
from fracstride.torch.capture.example import Example
from fracstride.torch.capture.refusal import RefusedError
from fracstride.torch.capture.running import Runner

__all__ = ["with_batch"]


def with_batch(example: Example, runner: Runner, clock: int) -> Example:
    """The example with a batch as axis 0 of as many inputs as possible.

    An input has one if two rows in a batch give what each gives alone. Where no inputs do, the
    network takes the example's sizes only.
    """
    for places in example.batches():
        candidate = example.with_batch(places)
        if _rows_are_independent(candidate, runner, clock):
            return candidate
    return example.with_batch(())


def _rows_are_independent(example: Example, runner: Runner, clock: int) -> bool:
    conditions = Conditions(clock, 2)
    together = example.make(conditions, "normal", 50)
    rows = [
        [
            (tensor[row : row + 1] if layout.batched else tensor).clone()
            for tensor, layout in zip(together, example.layouts, strict=True)
        ]
        for row in range(2)
    ]
    try:
        whole = runner.run(together, conditions)
        alone = [runner.run(inputs, Conditions(clock, 1)) for inputs in rows]
        align([whole, *alone], example.inputs())
    except RefusedError:
        return False
    return all(
        _is_made_of(whole.values[place], [run.values[place] for run in alone])
        for place in range(len(whole.values))
    )


def _is_made_of(whole: Tensor, rows: list[Tensor]) -> bool:
    """Whether a result is the results of its rows, one after the other along some axis."""
    axes = [axis for axis, size in enumerate(rows[0].shape) if whole.shape[axis] != size]
    if not axes:
        return all(not difference(whole, row) for row in rows)
    if len(axes) > 1 or whole.shape[axes[0]] != 2 * rows[0].shape[axes[0]]:
        return False
    parts = whole.chunk(2, axes[0])
    return all(not difference(row, part) for row, part in zip(rows, parts, strict=True))
