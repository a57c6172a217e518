"""Kernels in the graphs of ``torch.compile``, and calls of kernels that are recorded, not run.

``torch.compile`` traces the operators that eager mode calls. When it takes an operator apart, under
:class:`FunctionalTensorMode`, :func:`see_through` runs the operator's code with tensors that have
no numbers yet. Allocations and kernels then go into the graph one by one, where Inductor sees them,
as with :func:`torch.library.triton_op`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.functional_tensor import FunctionalTensorMode

__all__ = ["Launch", "capturing", "recorded", "recorder", "see_through", "typical"]

_state = threading.local()


@dataclass(frozen=True)
class Launch:
    """A recorded call of a kernel by so many programs."""

    kernel: Any
    programs: int
    operands: tuple[Any, ...]
    constants: dict[str, Any]


def recorder() -> list[Launch] | None:
    """The list that calls of kernels are added to in place of running, if they are recorded."""
    return getattr(_state, "launches", None)


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Record calls of kernels in a list; they do not run, and their results are undefined."""
    _state.launches = launches = list[Launch]()
    try:
        yield launches
    finally:
        _state.launches = None


def capturing() -> bool:
    """Whether kernels go into a compiler's graph."""
    return getattr(_state, "capturing", False)


def typical(size: int | torch.SymInt) -> int:
    """A size to choose a kernel by: for a symbol, the size that the compiler was called with.

    The choice may be slower for another size; its results are right for all.
    """
    if isinstance(size, int):
        return size
    return int(size.node.hint) if size.node.has_hint() else 4096


@contextmanager
def _capture() -> Iterator[None]:
    before, _state.capturing = capturing(), True
    try:
        yield
    finally:
        _state.capturing = before


def see_through(
    name: str,
    run: Callable[..., Any],
    applies: Callable[[torch.device], bool],
    library: torch.library.Library,
) -> None:
    """Let compilers trace ``run`` in place of the operator ``name``, on devices that it applies to.

    Exporters go on seeing the operator.
    """

    def rule(mode: Any, op: Any, types: Any, args: Any, kwargs: Any = None) -> Any:
        if not applies(args[0].device) or _exporting():
            return mode.__torch_dispatch__(op, types, args, kwargs)
        with mode, _capture():
            return run(*args)

    torch.library.register_torch_dispatch(name, FunctionalTensorMode, rule, lib=library)


def _exporting() -> bool:
    try:
        from torch.export._trace import custom_triton_ops_decomposition_disabled
    except ImportError:  # torch 2.6 and 2.7
        return bool(getattr(torch.compiler, "is_exporting", lambda: False)())
    return bool(custom_triton_ops_decomposition_disabled())
