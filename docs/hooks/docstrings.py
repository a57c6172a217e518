"""Docstrings as Markdown: references, examples and blocks of text are Sphinx's and Python's."""

from __future__ import annotations

import re
from typing import Any

from griffe import AliasResolutionError, Extension, Module, Object

#: ``:func:`fracstride.draw```, whatever the role.
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?(?P<name>[^`]+)`")
#: A doctest, up to the next empty line, and what stands before it.
DOCTEST = re.compile(r"^( *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)
FLAGS = re.compile(r" *# doctest:.*")


#: Named in docstrings without a place on the site. A warning, thus an error, names any other.
NOWHERE = {
    "fracstride.extension",
    "fracstride.streaming",
    "fracstride.streaming.schedule.Scheduled.final_length",
    "fracstride.streaming.schedule.Scheduled.length_at_end",
}


class AsMarkdown(Extension):
    """Rewrites each docstring before it is parsed."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """When all of the package is known, so that short names can be found in it."""
        rewrite(pkg)


def rewrite(obj: Object) -> None:
    """The docstring of a module, a class, a function or an attribute, and those of its members."""
    if obj.docstring is not None:
        obj.docstring.value = as_markdown(obj.docstring.value, obj)
    for member in obj.members.values():
        if isinstance(member, Object):  # not what is imported
            rewrite(member)


def as_markdown(text: str, obj: Object) -> str:
    """The docstring of an object as Markdown."""

    def reference(found: re.Match[str]) -> str:
        """A name as a link."""
        name = found["name"]
        path = path_of(name, obj)
        optional = " optional" if path in NOWHERE else ""
        return f'<autoref identifier="{path}"{optional}>`{name}`</autoref>'

    text = DOCTEST.sub(fenced, text)
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    return ROLE.sub(reference, text)


def path_of(name: str, obj: Object) -> str:
    """The path of what a docstring names: of the class, else of the module, else of a package."""
    scope: Object | None = obj
    if name.startswith("fracstride."):
        scope, name = obj.package, name.removeprefix("fracstride.")
    first, *rest = name.split(".")
    while scope is not None and first not in scope.all_members:
        scope = scope.parent
    if scope is None:
        return name
    try:
        found = scope.all_members[first]
        for part in rest:
            found = found.all_members[part]
        # `fracstride.conv1d` is the name of a module, too: its function is below that.
        if found.is_module and found.name in found.members:
            found = found.members[found.name]
        return found.canonical_path
    except (KeyError, AliasResolutionError):  # of another package, or not there
        return name


def fenced(found: re.Match[str]) -> str:
    """A doctest as a block of code."""
    indent = found[1]
    lines = [FLAGS.sub("", line.removeprefix(indent)) for line in found[0].splitlines()]
    lines = ["" if line == "<BLANKLINE>" else line for line in lines]
    return "\n".join(f"{indent}{line}".rstrip() for line in ["", "```pycon", *lines, "```"])
