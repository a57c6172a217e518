"""What a module's ``forward`` calls, as far as its bytecode tells.

``accelerate`` asks two questions of a class. Does a call get to torch's ``forward`` by ``super()``?
Then the subclass computes the same with another class below it, wherever in it the call stands. And
does it call ``conv_transpose1d`` or ``conv1d`` of ``torch.nn.functional``, which ``accelerate``
does not replace?

Both are answered without running anything: methods are followed from ``__call__`` on, by the names
that their code reads. What is known at run time only, such as a function kept in an attribute, is
not followed.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import nn
from torch.nn import functional

__all__ = ["convolutions_called", "reaches_forward_of"]

_SKIPPED = ("CACHE", "EXTENDED_ARG", "NOP", "PRECALL", "PUSH_NULL", "RESUME")
_LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_FAST", "STORE_FAST_LOAD_FAST")
_CONVOLUTIONS = {"conv1d": functional.conv1d, "conv_transpose1d": functional.conv_transpose1d}
_FORWARDS = ("forward", "_conv_forward")  # of torch's layers: the second is Conv1d's
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


def convolutions_called(cls: Any) -> list[str]:
    """The names of those functions of ``torch.nn.functional`` that a module calls by itself.

    Of ``conv1d`` and ``conv_transpose1d``: in its ``forward``, in a method that this calls, or in a
    function of the same package that one of these calls, where the name stands for the function
    already.

    >>> def upsample(x, weight):
    ...     return nn.functional.conv_transpose1d(x, weight, stride=2)
    >>> class Upsample(nn.Module):
    ...     def forward(self, x):
    ...         return upsample(x, self.weight)
    >>> convolutions_called(Upsample)
    ['conv_transpose1d']
    """
    return sorted(_Methods(cls).convolutions()) if _mentions_one(cls) else []


def _mentions_one(cls: Any) -> bool:
    """Whether a method, or a function that it may call, has the name of such a function.

    This is false for most classes, and quickly found.
    """
    convolutions = list(_CONVOLUTIONS.values())
    values = [value for c in cls.__mro__ if not _is_torchs(c) for value in vars(c).values()]
    waiting = [function for value in values for function in _functions(value, [])]
    seen = set(waiting)
    while waiting:
        function = waiting.pop()
        known = function.__globals__
        names = {name for code in _codes(function.__code__) for name in code.co_names}
        values = [known.get(name) for name in names]
        if names & _CONVOLUTIONS.keys() or any(v is c for v in values for c in convolutions):
            return True
        package = _package_of(function)
        for module in (*values, *[sys.modules.get(name) for name in names]):
            if _is_module(module) and _package(module.__name__) == package:
                values += [vars(module).get(name) for name in names]
        for value in values:
            if type(value) is FunctionType and _package_of(value) == package:
                new = [inner for inner in _functions(value, []) if inner not in seen]
                seen.update(new)
                waiting += new
    return False


class _Methods:
    """The methods that a call of a module of class ``cls`` runs, followed down to torch's own.

    They are followed through ``super().method``, ``self.method`` and ``Class.method``, and through
    decorators. ``reached`` has the classes of torch whose ``forward`` is run in this way, or what
    is left of it without the layer's own weight (``_conv_forward``).
    """

    def __init__(self, cls: Any) -> None:
        self.reached: set[Any] = set()
        self._mro: tuple[Any, ...] = cls.__mro__
        self._seen: set[tuple[str, Any]] = set()
        self._convolutions: set[str] = set()
        self._helpers: list[FunctionType] = []  # functions that are called, still to be read
        self._helpers_seen: set[FunctionType] = set()
        self._follow("__call__", 0)

    def convolutions(self) -> set[str]:
        """Those that a method, or a function that one calls, calls."""
        while self._helpers:
            self._read_helper(self._helpers.pop())
        return self._convolutions

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
            if name in _FORWARDS:
                self.reached.add(owner)
        else:
            for function in _functions(vars(owner)[name], []):
                self._read(function, owner)

    def _read(self, function: FunctionType, owner: Any) -> None:
        imports = _imports(function.__code__)
        for code in _codes(function.__code__):
            this = code.co_varnames[:1]
            for chain, super_of in _chains(code):
                name = chain[-1]
                if super_of is not None:  # super(type(self), self) has another result below
                    cls = owner if super_of == _HERE else _value(super_of, function, imports)
                    if len(chain) == 2 and isinstance(cls, type) and cls in self._mro:
                        self._follow(name, self._mro.index(cls) + 1)
                elif chain[:1] == this and len(chain) == 2:
                    self._follow(name, 0)
                elif any(cls.__name__ in chain[-2:-1] for cls in self._mro):
                    self._follow_named(_value(chain[:-1], function, imports), name)
                self._look_for_convolution(chain, function, imports)

    def _read_helper(self, function: FunctionType) -> None:
        """A function that is no method."""
        imports = _imports(function.__code__)
        for code in _codes(function.__code__):
            for chain, _ in _chains(code):
                self._look_for_convolution(chain, function, imports)

    def _look_for_convolution(
        self, chain: _Chain, function: FunctionType, imports: dict[str, _Chain]
    ) -> None:
        if chain[-1] in _CONVOLUTIONS or len(chain) == 1:  # perhaps by another name
            value = _value(chain, function, imports)
            self._convolutions |= {name for name, f in _CONVOLUTIONS.items() if value is f}
        helper = _helper(chain, function, imports)
        if helper is not None and helper not in self._helpers_seen:
            new = [inner for inner in _functions(helper, []) if inner not in self._helpers_seen]
            self._helpers_seen.update(new)
            self._helpers += new

    def _follow_named(self, cls: Any, name: str) -> None:
        """``Class.method``, which looks past classes that stand elsewhere in the order."""
        if not isinstance(cls, type) or cls not in self._mro:
            return
        owner = next((c for c in cls.__mro__ if name in vars(c)), None)
        if owner is not None and not _is_torchs(owner):
            self._follow(name, self._mro.index(owner))


def _is_torchs(cls: type) -> bool:
    return _package(cls.__module__) == "torch"


def _package(module: str) -> str:
    """The outermost package of a module."""
    return module.partition(".")[0]


def _package_of(function: FunctionType) -> str:
    return _package(function.__module__ or "")


def _is_module(value: Any) -> bool:
    """As ``isinstance``, which would run code of a global that stands for another object."""
    return issubclass(type(value), ModuleType)


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
        elif operation.startswith(_LOADS):
            if name == "super":
                arguments = []
            else:  # LOAD_FAST_LOAD_FAST and STORE_FAST_LOAD_FAST have two
                chain = (name[-1] if isinstance(name, tuple) else name,)
    if chain:
        yield chain, super_of


def _imports(code: CodeType) -> dict[str, _Chain]:
    """The names that ``import`` statements of a function bind: a module, then an attribute if any.

    >>> def forward(self, x):
    ...     import torch.nn as n
    ...     from torch.nn import Tanh as T, GLU
    >>> _imports(forward.__code__)
    {'n': ('torch.nn',), 'T': ('torch.nn', 'Tanh'), 'GLU': ('torch.nn', 'GLU')}
    """
    bound: dict[str, _Chain] = {}
    for part in _codes(code):
        module, plain, attribute = "", True, ""
        before: list[Any] = [None, None]  # arguments of the instructions before: level and names
        for instruction in dis.get_instructions(part):
            operation, argument = instruction.opname, instruction.argval
            if operation in _SKIPPED:
                continue
            if operation == "IMPORT_NAME":
                level, names = before
                module, plain, attribute = "" if level else argument, names is None, ""
            elif operation == "IMPORT_FROM":
                attribute = argument
            elif operation.startswith("STORE_") and module:
                name = argument[0] if isinstance(argument, tuple) else argument
                if not plain:
                    bound[name] = module, attribute
                else:  # import a.b binds a, import a.b as c the last
                    bound[name] = (module if attribute else _package(module),)
                    module = ""
            elif operation == "POP_TOP" and not plain:  # the module, after the last of its names
                module = ""
            before = [before[1], argument]
    return bound


def _first_value(name: str, function: FunctionType, imports: dict[str, _Chain]) -> Any:
    """What a name stands for in a function, or None where that is known at run time only."""
    if name in imports:
        module, *attribute = imports[name]
        value: Any = sys.modules.get(module)
        return getattr(value, attribute[0], None) if attribute else value
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    try:
        return cells[name].cell_contents
    except (KeyError, ValueError):
        return function.__globals__.get(name)


def _value(chain: _Chain, function: FunctionType, imports: dict[str, _Chain]) -> Any:
    """What the names stand for, or None where that is known at run time only."""
    value = _first_value(chain[0], function, imports)
    for name in chain[1:]:
        try:
            value = getattr(value, name)
        except Exception:  # whatever a property, or a module that imports late, raises
            return None
    return value


def _helper(
    chain: _Chain, function: FunctionType, imports: dict[str, _Chain]
) -> FunctionType | None:
    """The function of the same package that the names stand for, ``f``, ``module.f``; or None."""
    value = _first_value(chain[0], function, imports)
    for name in chain[1:]:
        if not _is_module(value):
            return None
        value = vars(value).get(name)  # not getattr, which may import
    if type(value) is FunctionType and _package_of(value) == _package_of(function):
        return value
    return None
