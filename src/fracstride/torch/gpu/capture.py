"""Kernels as part of a compiler's graph.

``torch.compile`` meets one operator, which is what eager mode calls. Where it takes programs apart,
under :class:`FunctionalTensorMode`, the operator's CUDA side is called with tensors that have no
numbers yet: allocations and kernels go into the graph, where Inductor sees them, as it sees
:func:`torch.library.triton_op`.
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
    """A call of a kernel, by so many programs, that did not take place."""

    kernel: Any
    programs: int
    operands: tuple[Any, ...]
    constants: dict[str, Any]


def recorder() -> list[Launch] | None:
    """Where calls of kernels are to be written down, if they are not to run."""
    return getattr(_state, "launches", None)


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Write calls of kernels down: results are then memory that nobody wrote."""
    _state.launches = launches = list[Launch]()
    try:
        yield launches
    finally:
        _state.launches = None


def capturing() -> bool:
    """Whether kernels are recorded, not run."""
    return getattr(_state, "capturing", False)


def typical(size: int | torch.SymInt) -> int:
    """A size to decide by: where it is a symbol, the one that the compiler was called with.

    Such a decision may be a bad one for another size, never a wrong one.
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
    """Let compilers see ``run`` inside the operator ``name`` of tensors to whose device it applies.

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
