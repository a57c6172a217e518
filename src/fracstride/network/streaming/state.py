"""What a network's stream carries, as arrays with names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fracstride.arguments import MAX_SIZE
from fracstride.arrays import Array, DType
from fracstride.network.streaming.memory import StreamMemory
from fracstride.streaming.pieces import loaded
from fracstride.streaming.stream import check_state

__all__ = ["prepared", "state_of"]


def state_of(memory: StreamMemory, ticks: Sequence[int], dtype: DType) -> dict[str, Array]:
    """Copies of what is carried: ticks by row, positions by signal, states of operations."""
    places = [memory.schedule.after(memory.schedule.place(count)) for count in ticks]
    state = {"ticks": np.array(ticks, np.int64)}
    for number, value in enumerate(places[0].kept):
        keep = [place.known[value] - place.kept[value] for place in places]
        frames = np.zeros((len(ticks), value.channels, max(keep)), value.dtype(dtype))
        for row, count in enumerate(keep):
            if count:
                frames[row, :, :count] = memory.windows[value][row, :, :count]
        state[f"signal {number}"] = frames
    for number, own in enumerate(memory.states.values()):
        state[f"state {number}"] = own.copy()
    return state


def prepared(
    state: Mapping[str, Any], like: Mapping[str, Array], memory: StreamMemory
) -> tuple[list[int], Callable[[], None]]:
    """The ticks of a state, by row, and what puts the rest of it into memory.

    Args:
        state: as :func:`state_of` gives it.
        like: what :func:`state_of` gives now: its names, shapes and dtypes.
        memory: of the stream.

    Raises:
        ValueError, TypeError: it is no such state.
    """
    checked = {name: loaded(np.asarray(a)) for name, a in check_state(state, set(like)).items()}
    ticks, rows = checked.pop("ticks"), len(like["ticks"])
    if (
        ticks.dtype.kind not in "iu"
        or ticks.shape != (rows,)
        or any(not 0 <= int(count) <= MAX_SIZE for count in ticks)
    ):
        raise ValueError(
            f"state ticks must be {rows} integers from 0 to 2**62, one for each row, got "
            f"{ticks.dtype} of shape {ticks.shape}: {ticks}"
        )
    places = [memory.schedule.after(memory.schedule.place(int(count))) for count in ticks]
    values = list(places[0].kept)
    shapes = {
        f"signal {i}": (rows, v.channels, max(p.known[v] - p.kept[v] for p in places))
        for i, v in enumerate(values)
    }
    shapes |= {name: a.shape for name, a in like.items() if name.startswith("state ")}
    for name, array in checked.items():
        if array.shape != shapes[name] or array.dtype != like[name].dtype:
            raise ValueError(
                f"state {name} must be {like[name].dtype} of shape {shapes[name]} after "
                f"{ticks.tolist()} ticks, got {array.dtype} of shape {array.shape}"
            )

    def put() -> None:
        memory.reserve({v: shapes[f"signal {i}"][2] for i, v in enumerate(values)})
        for i, value in enumerate(values):
            frames = checked[f"signal {i}"]
            memory.windows[value][:, :, : frames.shape[2]] = frames
        for i, own in enumerate(memory.states.values()):
            own[...] = checked[f"state {i}"]

    return ticks.tolist(), put
