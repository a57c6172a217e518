"""Which submodule is running."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

__all__ = ["Paths"]


class Paths:
    """The path of the submodule that runs at the moment, in this thread.

    A context manager: torch's hooks for all modules are set inside, and gone afterwards. Hooks of
    the modules themselves stay as they are.
    """

    def __init__(self, module: nn.Module) -> None:
        self._names = {id(part): name for name, part in reversed([*module.named_modules()])}
        self._stack: list[str] = []
        self._thread = threading.get_ident()
        self._hooks: list[Any] = []

    @property
    def current(self) -> str:
        """Empty for the outermost module."""
        return self._stack[-1] if self._stack else ""

    def __enter__(self) -> Paths:
        self._stack.clear()
        self._hooks = [
            register_module_forward_pre_hook(self._begin),
            register_module_forward_hook(self._end, always_call=True),
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def _begin(self, module: nn.Module, arguments: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        name = self._names.get(id(module))
        if name is None:  # a module that is no attribute, in a list or a closure
            name = f"{self.current}.<{type(module).__name__}>".lstrip(".")
        self._stack.append(name)

    def _end(self, module: nn.Module, arguments: Any, result: Any) -> None:
        if threading.get_ident() == self._thread and self._stack:
            self._stack.pop()
