"""Which codes a module takes: found by trying.

An example shows some codes, perhaps one alone, and a table has more. Runs with the others tell
whether the network is right for them too.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fracstride.network.recording import Reference
from fracstride.torch.capture.align import align
from fracstride.torch.capture.constants import Folded
from fracstride.torch.capture.example import Example
from fracstride.torch.capture.refusal import RefusedError
from fracstride.torch.capture.running import Run, Runner, operands_in

__all__ = ["with_all_codes"]

_MORE = 1024  # numbers beyond the only one, where there is no table
_LOOK_UPS = ("aten.embedding.", "aten.index_select.", "aten.index.", "aten.gather.", "aten.take.")


def with_all_codes(example: Example, runner: Runner, own: Run) -> Example:
    """The example with the greatest codes that the module takes in the same way.

    Args:
        example: whose inputs of integers are drawn from the numbers that they show.
        runner: of the module.
        own: the run of the example.
    """
    for place, layout in enumerate(example.layouts):
        if not layout.dtype.is_floating_point:
            example = _with_greatest(example, place, runner, own)
    return example


def _with_greatest(example: Example, place: int, runner: Runner, own: Run) -> Example:
    """The same for one input: the greatest code is one before the size of a table, or below."""
    layout = example.layouts[place]
    good = layout.codes[1]
    limit = torch.iinfo(layout.dtype).max
    sizes = set(_table_sizes(own, place))
    if not sizes and good == layout.codes[0]:  # numbers that are all equal show little
        sizes = {good + _MORE}
    bad = None
    for highest in sorted({min(size - 1, limit) for size in sizes}, reverse=True):
        if highest <= good:
            continue
        if _takes(example.with_codes(place, highest), runner, own):
            good = highest
            break
        bad = highest
    while bad is not None and bad - good > 1:  # codes that are moved before they are looked up
        middle = (good + bad) // 2
        if _takes(example.with_codes(place, middle), runner, own):
            good = middle
        else:
            bad = middle
    return example if good == layout.codes[1] else example.with_codes(place, good)


def _table_sizes(own: Run, place: int) -> Iterator[int]:
    """Rows of the constants that something is looked up in which descends from an input."""
    descending = {place}
    for step in own.steps:
        operands = operands_in(list(step.arguments.values()))
        read = {operand.index for operand in operands if isinstance(operand, Reference)}
        if not descending & read:
            continue
        descending.update(step.results)
        if step.operator.startswith(_LOOK_UPS):
            yield from (o.shape[0] for o in operands if isinstance(o, Folded) and o.shape)


def _takes(example: Example, runner: Runner, own: Run) -> bool:
    """Whether the module does the same with the greatest code everywhere, and with all of them."""
    conditions = own.conditions
    try:
        for values in ("constant", "normal"):
            run = runner.run(example.make(conditions, values, conditions.clock), conditions)
            align([own, run], example.inputs())
    except RefusedError:
        return False
    return True
