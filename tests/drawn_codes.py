"""Random decoders from codes: tables of random sizes, looked up in the ways that codecs do it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from drawn_modules import Pick, activation, conv, one_of, transposed
from torch import Tensor, nn
from torch.nn import functional as F

LAYOUTS = ("BCT", "BTC", "BT")
WAYS = ("modules", "functional", "index", "stacked", "one_table", "several_rates")


class Quantiser(nn.Module):
    """A table, and perhaps a projection of what it holds."""

    def __init__(self, pick: Pick, width: int) -> None:
        super().__init__()
        self.codes, inner = pick(2, 40), one_of(pick, width, pick(1, 12))
        self.table = nn.Embedding(self.codes, inner)
        self.projection: nn.Module | None = None
        self.last = bool(pick(0, 1))  # the axis that is projected
        if inner != width:
            self.projection = nn.Linear(inner, width) if self.last else nn.Conv1d(inner, width, 1)

    def found(self, codes: Tensor, way: str) -> Tensor:
        """``(B, T, inner)`` of ``(B, T)``."""
        if way == "functional":
            return F.embedding(codes, self.table.weight)
        return self.table.weight[codes] if way == "index" else self.table(codes)

    def forward(self, codes: Tensor, way: str) -> Tensor:
        found = self.found(codes, way)
        if self.projection is None:
            return found.transpose(1, 2)
        if self.last:
            return self.projection(found).permute(0, 2, 1)
        return self.projection(found.permute(0, 2, 1))


class Decoder(nn.Module):
    """Several quantisers, whose results are added up, and a decoder behind them."""

    def __init__(self, pick: Pick, way: str = "") -> None:
        super().__init__()
        self.way = way or one_of(pick, *WAYS)
        self.layout = one_of(pick, *LAYOUTS)
        several = 1 if self.layout == "BT" else pick(1, 4)
        width, self.apart, self.total = 2 * pick(1, 4), pick(0, 4), pick(0, 2)
        self.rates = [1] * several
        if self.way == "several_rates":
            self.layout, self.rates = "BT", sorted(one_of(pick, 1, 2, 4) for _ in range(several))
            self.rates[0] = 1
        self.quantisers = nn.ModuleList(Quantiser(pick, width) for _ in range(several))
        size = pick(2, 20)
        self.table = nn.Embedding(size * several, width)
        self.codes = size if self.way == "one_table" else min(q.codes for q in self.quantisers)
        self.register_buffer("offsets", torch.arange(several) * size)
        self.decoder = nn.Sequential(
            conv(pick, width, 4), activation(pick, 4), transposed(pick, 4, 1, pick(2, 3))
        )

    def example(
        self, batch: int, clock: int, dtype: torch.dtype = torch.int64
    ) -> tuple[Tensor, ...]:
        """Inputs."""
        shapes = {"BCT": (batch, len(self.rates), clock), "BTC": (batch, clock, len(self.rates))}
        if self.way == "several_rates":
            wanted: Sequence[tuple[int, ...]] = [(batch, rate * clock) for rate in self.rates]
        else:
            wanted = [shapes.get(self.layout, (batch, clock))]
        return tuple(torch.randint(0, self.codes, shape, dtype=dtype) for shape in wanted)

    @property
    def time(self) -> int:
        """The axis of time of each input."""
        return 2 if self.layout == "BCT" else 1

    def forward(self, *given: Tensor) -> Tensor:
        if self.way == "several_rates":
            return self.decoder(self._of_several_rates(given))
        codes = {"BT": lambda x: x[:, None], "BTC": lambda x: x.transpose(1, 2)}.get(
            self.layout, lambda x: x
        )(given[0])
        if self.way == "one_table":
            found = self.table(codes + self.offsets[None, :, None])
            total = found.mean(1) if self.total else found.sum(dim=1)
            return self.decoder(total.transpose(1, 2))
        results = [
            q(row, self.way) for q, row in zip(self.quantisers, self._rows(codes), strict=True)
        ]
        if self.way == "stacked":
            axis = (0, 1, -1)[self.total]
            return self.decoder(torch.stack(results, axis).sum(axis))
        total = (torch.zeros(()), 0.0, torch.tensor(0.0))[self.total]
        for result in results:
            total = total + result
        return self.decoder(total)

    def _rows(self, codes: Tensor) -> Sequence[Tensor]:
        """The codes ``(B, T)`` of each quantiser."""
        if self.apart == 0:
            return [codes[:, place] for place in range(codes.shape[1])]
        if self.apart == 1:
            return codes.unbind(1)
        if self.apart == 2:
            return [part.squeeze(1) for part in codes.split(1, 1)]
        if self.apart == 3:
            return list(codes.transpose(0, 1))
        return [codes.narrow(1, place, 1)[:, 0, :] for place in range(codes.shape[1])]

    def _of_several_rates(self, given: Sequence[Tensor]) -> Tensor:
        longest, total = max(self.rates), torch.zeros(())
        for quantiser, codes, rate in zip(self.quantisers, given, self.rates, strict=True):
            found = quantiser(codes, "modules")
            total = total + found.repeat_interleave(longest // rate, dim=-1)
        return total
