"""torch, for tests that compare with it: they are skipped where it is not installed."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["tf", "torch"]

torch: Any
tf: Any


class _Absent:
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # pytest looks at what a test file imports
            raise AttributeError(name)
        pytest.skip("torch is not installed")


try:  # (`import torch` alone may find the folder tests/torch)
    import torch
    import torch.nn.functional as tf
except ImportError:
    torch = tf = _Absent()
