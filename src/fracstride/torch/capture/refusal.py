"""Why a module cannot be represented: the sentence that a user reads."""

from __future__ import annotations

from fracstride.network.recording import Conditions

__all__ = ["RefusedError", "described", "label"]


def label(path: str, operator: str) -> str:
    """A call in words: ``decoder.blocks.3.pad (aten.constant_pad_nd)``."""
    name = operator.removesuffix(".default")
    where = path or "the module itself"
    return f"{where} ({name})" if name else where


def described(conditions: Conditions) -> str:
    """In words: ``T = 5, batch 2``."""
    return f"T = {conditions.clock}, batch {conditions.batch}"


class RefusedError(ValueError):
    """A module that the library cannot represent.

    Args:
        path: of the submodule that made the call, or empty for the outermost.
        operator: such as ``"aten.constant_pad_nd.default"``, or empty.
        why: the reason, and what would help.
    """

    def __init__(self, path: str, operator: str, why: str) -> None:
        super().__init__(f"{label(path, operator)}: {why}")
        self.path, self.operator, self.why = path, operator, why
