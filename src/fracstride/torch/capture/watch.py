"""What Python code does with tensors where no operator is called.

Sizes that it reads are lengths (:mod:`fracstride.torch.capture.lengths`). Slices that reach past
the end are comparisons with a size. Numbers of the signal that leave torch are refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fracstride.torch.capture.lengths import Length, Log
from fracstride.torch.capture.refusal import RefusedError

__all__ = ["Watch"]

_aten: Any = torch.ops.aten
_T: Any = Tensor
_ESCAPES = {
    _T.numpy: "Tensor.numpy",
    _T.tolist: "Tensor.tolist",
    _T.__array__: "Tensor.__array__",
    _T.__dlpack__: "Tensor.__dlpack__",
    _T.__deepcopy__: "copy.deepcopy",
    _T.__reduce_ex__: "pickle",
    _T.storage: "Tensor.storage",
    _T.untyped_storage: "Tensor.untyped_storage",
}
_SHAPE = _T.shape.__get__
_END = sys.maxsize


class Watch(TorchFunctionMode):
    """Watches the calls of torch's Python functions.

    Args:
        place: gives the recorded tensor that a tensor is, or None.
        path: gives the path of the module that runs.
        log: of the lengths.
        refuse: is told what is refused, as the module may catch the error.
    """

    def __init__(
        self,
        place: Callable[[Tensor], int | None],
        path: Callable[[], str],
        log: Log,
        refuse: Callable[[RefusedError], None],
    ) -> None:
        super().__init__()
        self._place, self._path, self._log, self._refuse = place, path, log, refuse

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not args or not isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        index = self._place(args[0])
        if func in (_T.__getitem__, _T.__setitem__) and _is_basic(args[1]):
            view = self._sliced(index, args[0], args[1])
            if func is _T.__setitem__:
                return _set(view, args[2])
            return func(*args, **kwargs) if view is args[0] else view  # all of it
        return func(*args, **kwargs) if index is None else self._live(func, index, args, kwargs)

    def _live(self, func: Any, index: int, args: Any, kwargs: dict[str, Any]) -> Any:
        """A function of a recorded tensor."""
        if func in _ESCAPES:
            why = "numbers of the signal leave torch, and what becomes of them cannot be recorded"
            refused = RefusedError(self._path(), _ESCAPES[func], why)
            self._refuse(refused)
            raise refused
        if func == _SHAPE or (func is _T.size and len(args) == 1 and not kwargs):
            sizes = args[0].shape
            return torch.Size([self._length(index, axis, n) for axis, n in enumerate(sizes)])
        if func is _T.size:
            axis = (*args[1:], *kwargs.values())[0]
            return self._length(index, axis % args[0].dim(), func(*args, **kwargs))
        if func in (_T.numel, _T.nelement, torch.numel):
            product: Any = 1
            for axis, size in enumerate(args[0].shape):
                product = product * self._length(index, axis, size)
            return product
        if func in (torch.split, _T.split):
            self._ask_split(index, args, kwargs)
        return func(*args, **kwargs)

    def _length(self, index: int, axis: int, size: int) -> Length:
        return self._log.length(index, axis, size)

    def _sliced(self, index: int | None, tensor: Tensor, key: Any) -> Tensor:
        """``tensor[key]``. Torch itself calls no operator for slices that take everything."""
        parts = list(key) if isinstance(key, tuple) else [key]
        used = sum(part is not None and part is not Ellipsis for part in parts)
        view, source, axis = tensor, 0, 0
        for part in parts:
            if part is Ellipsis:
                skipped = tensor.dim() - used
                source, axis = source + skipped, axis + skipped
            elif part is None:
                view, axis = view.unsqueeze(axis), axis + 1
            elif isinstance(part, slice):
                if part != slice(None):
                    if index is not None:
                        self._ask_bounds(self._length(index, source, view.shape[axis]), part)
                    start = 0 if part.start is None else part.start
                    stop = _END if part.stop is None else part.stop
                    view = _aten.slice.Tensor(view, axis, start, stop, part.step or 1)
                source, axis = source + 1, axis + 1
            else:
                view, source = view.select(axis, part), source + 1
        return view

    @staticmethod
    def _ask_bounds(size: Length, part: slice) -> None:
        """Whether a slice begins and ends within the tensor."""
        for bound in (part.start, part.stop):
            if bound is not None:
                _ = size < (bound if bound >= 0 else -bound)

    def _ask_split(self, index: int, args: Any, kwargs: dict[str, Any]) -> None:
        """How many parts a tensor is split into."""
        size = args[1] if len(args) > 1 else next(iter(kwargs.values()), None)
        axis = kwargs.get("dim", args[2] if len(args) > 2 else 0)
        if isinstance(size, int) and size > 0:
            axis %= args[0].dim()
            length = self._length(index, axis, args[0].shape[axis])
            _ = -(-length // size) == -(-int(length) // int(size))


def _set(view: Tensor, value: Any) -> None:
    """``view[...] = value``. Torch itself calls another operator where the batch is 1."""
    if isinstance(value, Tensor) and value.dim() <= view.dim():
        view.copy_(value)
    else:
        view[...] = value


def _is_basic(key: Any) -> bool:
    """Whether an index is made of ints, slices with ints, None and an ellipsis."""
    parts = key if isinstance(key, tuple) else (key,)
    if sum(part is Ellipsis for part in parts) > 1:
        return False
    for part in parts:
        if part is None or part is Ellipsis:
            continue
        if isinstance(part, slice):
            numbers = [part.start, part.stop, part.step]
            if not all(n is None or _is_int(n) for n in numbers) or (part.step or 1) < 1:
                return False
        elif not _is_int(part):
            return False
    return True


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
