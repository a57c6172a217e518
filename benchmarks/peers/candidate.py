"""What a way to compute a layer has to offer, to be timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
from layers import Array, Problem

TRIALS = 5


class Candidate:
    """One way to compute the forward pass of a problem with a number of threads.

    A subclass sets ``call`` to one forward pass with as little around it as possible. Work that a
    user would do once per layer belongs into ``__init__`` and is not timed.
    """

    package: ClassVar[str]
    call: Callable[[], Any]

    def __init__(self, problem: Problem, threads: int) -> None:
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        """Version of the package."""
        return version(cls.package)

    def running(self) -> AbstractContextManager[Any]:
        """The context in which calls are made."""
        return nullcontext()

    def output(self) -> Array:
        """Call once and return the result."""
        with self.running():
            return np.asarray(self.call())


def fastest(forms: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
    """The form with the shortest time, of a few calls each.

    A layer can be written in several forms: as it is, as a 2-D layer with a height of 1, or as
    other layers. Only forms that a user could write are tried; none leaves out work.
    """
    if len(forms) == 1:
        return forms[0]

    def best_time(form: Callable[[], Any]) -> float:
        form()
        times = []
        for _ in range(TRIALS):
            start = perf_counter()
            form()
            times.append(perf_counter() - start)
        return min(times)

    return min(forms, key=best_time)
