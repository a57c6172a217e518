"""Triton's interpreter, where there is no GPU, without work that it repeats."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="package")
def _language_is_replaced_once_a_launch() -> Iterator[None]:
    """The interpreter replaces the functions of Triton's language by its own, and looks for them.

    It does so for each call of a helper, although the launch that the call belongs to has done it:
    most of the time of an interpreted kernel. Here a launch replaces all of them, and only it.
    """
    if os.environ.get("TRITON_INTERPRET") != "1":
        yield
        return
    import triton.language as tl
    from triton.runtime import interpreter

    replace = interpreter._patch_lang
    languages = SimpleNamespace(__globals__={"tl": tl, "core": tl.core})

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.rewrite()(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "_patch_lang", lambda function: replace(languages))
        patch.setattr(interpreter.InterpretedFunction, "__call__", call)
        yield
