"""Which call it is, where a network differs from its module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor

from fracstride.network.recording import Call, Recording, Reference
from fracstride.torch.capture.agreement import difference
from fracstride.torch.capture.running import operands_in

__all__ = ["first_difference"]


def first_difference(
    recording: Recording,
    values: Mapping[int, Tensor],
    results: Callable[[Recording], list[Tensor]],
) -> Call | None:
    """The first call whose results are not the module's, or None.

    Args:
        recording: of the module.
        values: of its recorded tensors in one run.
        results: what a network gives in this run, made of a recording with other outputs.
    """
    read = {
        operand.index
        for call in recording.calls
        for operand in operands_in(list(call.arguments.values()))
        if isinstance(operand, Reference)
    }
    read |= {output.index for output in recording.outputs if isinstance(output, Reference)}
    # A network may lack results that nothing reads: the last state of an LSTM.
    wanted = {id(c): [r for r in c.results if r in values and r in read] for c in recording.calls}
    calls = [call for call in recording.calls if wanted[id(call)]]

    def differs(call: Call) -> bool:
        outputs = tuple(map(Reference, wanted[id(call)]))
        try:
            found = results(replace(recording, outputs=outputs))
        except Exception:  # a network that does not run is no better than a wrong one
            return True
        expected = [values[place] for place in wanted[id(call)]]
        return any(difference(*each) for each in zip(expected, found, strict=True))

    good, bad = -1, len(calls) - 1
    if not calls or not differs(calls[bad]):
        return None
    while bad - good > 1:
        middle = (good + bad) // 2
        if differs(calls[middle]):
            bad = middle
        else:
            good = middle
    return calls[bad]
