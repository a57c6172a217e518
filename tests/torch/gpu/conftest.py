"""Triton's interpreter, where there is no GPU, without what it does in vain."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="package")
def _quick_interpreter() -> Iterator[None]:
    """Leave out what takes most of the time of an interpreted kernel and has no effect.

    A launch replaces the functions of Triton's language by the interpreter's; so does each call of
    a helper, by the same ones, after looking for them. Here only the launch does. Each sum and
    product of integers is looked at for an overflow, and nothing is done about it, as the option
    ``debug`` is off.
    """
    if os.environ.get("TRITON_INTERPRET") != "1":
        yield
        return
    import triton.language as tl
    from triton.runtime import interpreter

    replace = interpreter._patch_lang
    languages = SimpleNamespace(__globals__={"tl": tl, "core": tl.core})
    builder = interpreter.interpreter_builder
    assert not builder.options.debug

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.rewrite()(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "_patch_lang", lambda function: replace(languages))
        patch.setattr(interpreter.InterpretedFunction, "__call__", call)
        options = dataclasses.replace(builder.options, sanitize_overflow=False)
        patch.setattr(builder, "options", options)
        yield
