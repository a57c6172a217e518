"""Docstrings as Markdown: references, examples and blocks of text are Sphinx's and Python's."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

#: ``:func:`fracstride.draw```, whatever the role.
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([^`]+)`")
#: A doctest, up to the next empty line, and what stands before it.
DOCTEST = re.compile(r"^( *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)
FLAGS = re.compile(r" *# doctest:.*")


class AsMarkdown(Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Of a module, a class, a function or an attribute."""
        if obj.docstring is not None:
            parent = obj if obj.is_class or obj.parent is None else obj.parent
            obj.docstring.value = as_markdown(obj.docstring.value, parent.path)


def as_markdown(text: str, parent: str) -> str:
    """A docstring as Markdown; ``parent`` is the class or the module of short names."""

    def reference(found: re.Match[str]) -> str:
        """A name, which is a link where the site has it."""
        name = found[1]
        path = name if name.startswith("fracstride") else f"{parent}.{name}"
        return f'<autoref identifier="{path}" optional>`{name}`</autoref>'

    text = DOCTEST.sub(fenced, text)
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    return ROLE.sub(reference, text)


def fenced(found: re.Match[str]) -> str:
    """A doctest as a block of code."""
    indent = found[1]
    lines = [FLAGS.sub("", line.removeprefix(indent)) for line in found[0].splitlines()]
    lines = ["" if line == "<BLANKLINE>" else line for line in lines]
    return "\n".join(f"{indent}{line}".rstrip() for line in ["", "```pycon", *lines, "```"])
