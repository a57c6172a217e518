"""What a way to run a model has to offer, to be timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from model_zoo import Array, Model

TRIALS, TRIAL_SECONDS = 3, 6.0  # calls of each form, or as many as fit


class Runner:
    """One way to run a prepared model in a dtype.

    ``folder`` holds what :mod:`model_preparation` has written. Work that a user does once per model
    belongs into :meth:`set_up`, which may be called several times. A call that is timed is
    ``call(given(x))``, of which :meth:`given` is not timed.
    """

    form = ""  # which of several forms was the fastest

    def __init__(self, folder: Path, model: Model, dtype: str) -> None:
        self.folder, self.model, self.dtype = folder, model, dtype

    def set_up(self, threads: int, inputs: Sequence[Array], new_lengths: bool) -> None:
        """Get ready for calls on inputs like these, of their very shapes unless ``new_lengths``."""
        raise NotImplementedError

    def running(self) -> AbstractContextManager[Any]:
        """The context in which calls are made."""
        return nullcontext()

    def given(self, inputs: Sequence[Array]) -> Any:
        """The inputs as this library takes them."""
        return inputs

    def call(self, given: Any) -> Any:
        """Run the model once."""
        raise NotImplementedError

    def result(self, output: Any) -> Array:
        """What a call has returned, as a new array in float32."""
        return np.array(output, np.float32)


def fastest(forms: Mapping[str, Callable[[], Any]]) -> str:
    """The name of the form with the shortest time, of a few calls each, in turns.

    A model can be written in several forms. Only forms that a user could write are tried.
    """
    if len(forms) == 1:
        return next(iter(forms))
    for form in forms.values():
        form()
    times = dict.fromkeys(forms, float("inf"))
    end = perf_counter() + TRIAL_SECONDS
    for _ in range(TRIALS):
        for name, form in forms.items():
            start = perf_counter()
            form()
            times[name] = min(times[name], perf_counter() - start)
        if perf_counter() > end:
            break
    return min(times, key=times.__getitem__)
