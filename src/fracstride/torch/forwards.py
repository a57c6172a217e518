"""What a module's ``forward`` calls, as far as its bytecode tells.

A subclass that calls ``super().forward`` computes the same with another class below it, wherever in
it the call stands. So what counts is whether the methods that run can get there.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from torch import nn
from torch.nn import functional

__all__ = ["calls_conv_transpose1d", "reaches_forward_of"]

_SKIPPED = ("CACHE", "EXTENDED_ARG", "NOP", "PRECALL", "PUSH_NULL", "RESUME")
_Chain = tuple[str, ...]
_HERE = ("__class__",)  # what super() without arguments reads


def reaches_forward_of(target: Any, cls: Any) -> bool:
    """Whether a call of a module of class ``cls`` gets to ``target.forward`` through ``super()``.

    >>> class Trimmed(nn.ConvTranspose1d):
    ...     def forward(self, x):
    ...         return super().forward(x)[..., :-1]
    >>> reaches_forward_of(nn.ConvTranspose1d, Trimmed)
    True
    """
    return target in _Methods(cls).reached


def calls_conv_transpose1d(cls: Any) -> bool:
    """Whether a module of class ``cls`` calls ``torch.nn.functional.conv_transpose1d`` by itself.

    In its ``forward`` or a method that this calls, where the name stands for it already.
    """
    return (
        any(
            _names_it(code, function)  # most classes are done with here
            for owner in cls.__mro__
            if not _is_torchs(owner)
            for value in vars(owner).values()
            for function in _functions(value, [])
            for code in _codes(function.__code__)
        )
        and _Methods(cls).convolves
    )


def _names_it(code: CodeType, function: FunctionType) -> bool:
    names = code.co_names
    known = function.__globals__
    return "conv_transpose1d" in names or any(
        known.get(name) is functional.conv_transpose1d for name in names
    )


class _Methods:
    """The methods that a call of a module of class ``cls`` runs, followed down to torch's own.

    They are followed through ``super().method``, ``self.method`` and ``Class.method``, and through
    decorators. ``reached`` has the classes of torch whose ``forward`` is run in this way.
    """

    def __init__(self, cls: Any) -> None:
        self.reached: set[Any] = set()
        self.convolves = False
        self._mro: tuple[Any, ...] = cls.__mro__
        self._seen: set[tuple[str, Any]] = set()
        self._follow("__call__", 0)

    def _follow(self, name: str, start: int) -> None:
        """``name``, looked up from the ``start``-th class on."""
        owner = next((c for c in self._mro[start:] if name in vars(c)), None)
        if owner is None or (name, owner) in self._seen:
            return
        self._seen.add((name, owner))
        if owner is nn.Module:
            if name == "__call__":
                self._follow("forward", 0)
        elif _is_torchs(owner):
            if name == "forward":
                self.reached.add(owner)
        else:
            for function in _functions(vars(owner)[name], []):
                self._read(function, owner)

    def _read(self, function: FunctionType, owner: Any) -> None:
        for code in _codes(function.__code__):
            this = code.co_varnames[:1]
            for chain, super_of in _chains(code):
                name = chain[-1]
                if super_of is not None:  # super(type(self), self) has another result below
                    cls = owner if super_of == _HERE else _value(super_of, function)
                    if len(chain) == 2 and isinstance(cls, type) and cls in self._mro:
                        self._follow(name, self._mro.index(cls) + 1)
                elif chain[:1] == this and len(chain) == 2:
                    self._follow(name, 0)
                elif any(cls.__name__ in chain[-2:-1] for cls in self._mro):
                    self._follow_named(_value(chain[:-1], function), name)
                if name == "conv_transpose1d" or len(chain) == 1:  # perhaps by another name
                    value = _value(chain, function)
                    self.convolves |= value is not None and value is functional.conv_transpose1d

    def _follow_named(self, cls: Any, name: str) -> None:
        """``Class.method``, which looks past classes that stand elsewhere in the order."""
        if not isinstance(cls, type) or cls not in self._mro:
            return
        owner = next((c for c in cls.__mro__ if name in vars(c)), None)
        if owner is not None and not _is_torchs(owner):
            self._follow(name, self._mro.index(owner))


def _is_torchs(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "torch"


def _functions(value: Any, seen: list[Any]) -> Iterator[FunctionType]:
    """The function, and those that it decorates."""
    value = getattr(value, "__func__", value)
    if not isinstance(value, FunctionType) or any(value is other for other in seen):
        return
    seen.append(value)
    yield value
    inner = [getattr(value, "__wrapped__", None)]
    for cell in value.__closure__ or ():
        try:
            inner.append(cell.cell_contents)
        except ValueError:  # an empty cell
            continue
    for other in inner:
        yield from _functions(other, seen)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code, and that of the functions inside."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _chains(code: CodeType) -> Iterator[tuple[_Chain, _Chain | None]]:
    """The names that are read one from the other, ``a``, ``b``, ``c`` for ``a.b.c``.

    With ``super(A, x).b`` as ``super``, ``b``, and the names for ``A`` beside it, or ``_HERE``.
    """
    chain: _Chain = ()
    super_of: _Chain | None = None
    arguments: list[_Chain] | None = None  # of the call of super that is being made
    for instruction in dis.get_instructions(code):
        operation, name = instruction.opname, instruction.argval
        if operation in _SKIPPED:
            continue
        if operation in ("LOAD_ATTR", "LOAD_METHOD") and chain:
            chain = (*chain, name)
            continue
        if chain:
            yield chain, super_of
            if arguments is not None:
                arguments.append(chain)
        chain, super_of = (), None
        at_once = operation.startswith("LOAD_SUPER_")  # Python 3.12: the call and the attribute
        if arguments is not None and (at_once or operation.startswith("CALL")):
            super_of = arguments[0] if arguments else _HERE
            chain = ("super", name) if at_once else ("super",)
            arguments = None
        elif operation.startswith(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_FAST")):
            if name == "super":
                arguments = []
            else:  # LOAD_FAST_LOAD_FAST has two
                chain = (name[-1] if isinstance(name, tuple) else name,)
    if chain:
        yield chain, super_of


def _value(chain: _Chain, function: FunctionType) -> Any:
    """What the names stand for, or None where that is known at run time only."""
    names = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    try:
        value: Any = names[chain[0]].cell_contents
    except (KeyError, ValueError):
        value = function.__globals__.get(chain[0])
    for name in chain[1:]:
        try:
            value = getattr(value, name)
        except Exception:  # whatever a property, or a module that imports late, raises
            return None
    return value
