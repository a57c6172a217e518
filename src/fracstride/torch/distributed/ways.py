"""The ways in which a line of ranks may cut a layer, and when each of them is possible.

A layer may be whole on every rank, or cut along its batch, the ``rows`` of its weight (axis 0), the
``columns`` (axis 1) or its groups. Rows are the input channels of a transposed convolution and the
output channels of a Conv1d. The operators' records say how each way cuts their tensors. Rows and
columns are channels of a layer of one group, where no rank is left without any; the channels of
several groups are cut between groups, where the ranks divide them.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch.distributed.tensor import Partial, Placement, Replicate, Shard

from fracstride.torch.distributed.halo import some_for_all
from fracstride.torch.operators.operator import Cut

__all__ = ["Cuts", "placement", "possible", "way_of"]

#: How each tensor of an operator is cut, the result at last.
Cuts = tuple[Cut, ...]


def placement(cut: Cut) -> Placement:
    """A record's word for a cut in the words of DTensor.

    >>> placement(1), placement("sum"), placement("whole")
    (Shard(dim=1), Partial(sum), Replicate())
    """
    if isinstance(cut, int):
        return Shard(cut)
    return Partial() if cut == "sum" else Replicate()


def possible(way: str, rows: int, columns: int, groups: int, ranks: int, all_ranks: int) -> bool:
    """Whether so many ranks can cut a layer in this way.

    ``rows`` and ``columns`` are those of one group. ``all_ranks`` is the number of ranks that may
    cut its channels, along other dimensions of a mesh too.
    """
    if way == "columns":
        return groups == 1 and some_for_all(columns, all_ranks)
    if way == "rows":
        return groups == 1 and some_for_all(rows, all_ranks)
    if way == "groups":
        return groups > 1 and groups % ranks == 0
    assert way in ("whole", "batch"), f"when is {way!r} possible?"
    return True


def way_of(x: Placement, w: Placement, groups: int, ways: Mapping[str, Cuts]) -> str:
    """The one of the ways of a layer that fits an input and a weight which are cut like this.

    >>> from fracstride.torch.operators.forward import CONV1D, TRANSPOSED
    >>> placements = Shard(1), Replicate()
    >>> way_of(*placements, 1, TRANSPOSED.cuts), way_of(*placements, 1, CONV1D.cuts)
    ('rows', 'columns')
    """
    if groups > 1 and (w.is_shard(0) or x.is_shard(1)):
        return "groups"
    if groups == 1:
        if w.is_shard(0) or w.is_shard(1):
            return "rows" if w.is_shard(0) else "columns"
        if x.is_shard(1):
            return "rows" if ways["rows"][0] == 1 else "columns"
    return "batch" if x.is_shard(0) else "whole"
