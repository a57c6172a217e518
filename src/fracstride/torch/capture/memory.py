"""The memory of a run: which tensors share it, and the value that each has at the moment.

Operators in place and views are recorded in functional form. Each tensor that the run makes is a
*place* in a *storage*; places form a tree of views. A write through one place gives every place of
the storage another value: that of the whole is worked out at once, those of other views when they
are read next.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import WeakTensorKeyDictionary

from fracstride.network.recording import Reference
from fracstride.torch.capture.aliases import View, undo
from fracstride.torch.capture.called import Called
from fracstride.torch.capture.constants import Folded, Pool
from fracstride.torch.capture.steps import Steps

__all__ = ["Memory", "Place", "Storage", "geometry"]

Geometry = tuple[Any, ...]


class Storage:
    """Memory that tensors share.

    Args:
        made: whether the run made it. Only such memory may be written to.
        live: whether anything in it descends from the inputs.
    """

    def __init__(self, made: bool, live: bool) -> None:
        self.made, self.live = made, live
        #: Values of the present version by the geometry of who reads them.
        self.values: dict[Geometry, Any] = {}
        #: Places by geometry, for views that were made unseen.
        self.places: dict[Geometry, Place] = {}
        #: The operator that wrote to a part of it in a way that has no functional form.
        self.broken = ""


class Place:
    """What a tensor is in its storage.

    Args:
        storage: that it is in.
        geometry: where in it.
        view: how it was made of its parent; None of the whole.
        parent: the place that it is a view of; None of the whole.
        whole: whether all other places of the storage are views of this one.
    """

    def __init__(
        self,
        storage: Storage,
        geometry: Geometry,
        view: View | None = None,
        parent: Place | None = None,
        *,
        whole: bool = False,
    ) -> None:
        self.storage, self.geometry, self.view, self.parent = storage, geometry, view, parent
        self.whole = whole
        storage.places.setdefault(geometry, self)


class Memory:
    """The tensors of a run.

    Args:
        pool: of the constants.
        steps: where views and writes are recorded.
    """

    def __init__(self, pool: Pool, steps: Steps) -> None:
        self._pool, self._steps = pool, steps
        self._places: Any = WeakTensorKeyDictionary()
        self._storages: dict[int, tuple[StorageWeakRef, Storage]] = {}

    # --- what there is --------------------------------------------------------------------------

    def storage_of(self, tensor: Tensor) -> Storage | None:
        """None: memory that was there before the run, or came about unseen."""
        found = self._storages.get(StorageWeakRef(tensor.untyped_storage()).cdata)
        return None if found is None else found[1]

    def place_of(self, tensor: Tensor) -> Place | None:
        """The tensor's place, if it is in memory that the run knows."""
        storage = self.storage_of(tensor)
        if storage is None:
            return None
        here = geometry(tensor)
        place: Place | None = self._places.get(tensor)
        if place is None or place.storage is not storage or place.geometry != here:
            place = storage.places.get(here)  # made unseen, or given other memory since
        return place

    def is_live(self, tensor: Tensor) -> bool:
        """Whether the tensor is in memory that descends from the inputs."""
        storage = self.storage_of(tensor)
        return storage is not None and storage.live

    def is_made(self, tensor: Tensor) -> bool:
        """Whether the run made the tensor's memory, so that it may be written to."""
        storage = self.storage_of(tensor)
        return storage is not None and storage.made

    def sharing(self, tensor: Tensor, others: list[Tensor]) -> Tensor | None:
        """The first of other tensors in the same memory."""
        address = tensor.untyped_storage()._cdata
        return next((t for t in others if t.untyped_storage()._cdata == address), None)

    def known(self, tensor: Tensor) -> int | None:
        """The recorded tensor that a tensor is at the moment, if it is known without a call."""
        place = self.place_of(tensor) if self.is_live(tensor) else None
        value = None if place is None else place.storage.values.get(place.geometry)
        return value.index if isinstance(value, Reference) else None

    # --- what comes about -----------------------------------------------------------------------

    def add(self, tensor: Tensor, value: Any, *, made: bool = True) -> None:
        """A tensor in memory of its own. ``value`` is None for a constant."""
        weak = StorageWeakRef(tensor.untyped_storage())
        storage = Storage(made, value is not None)
        self._storages[weak.cdata] = weak, storage
        place = Place(storage, geometry(tensor), whole=True)
        if value is not None:
            storage.values[place.geometry] = value
        self._places[tensor] = place

    def add_view(self, tensor: Tensor, value: Any, view: View | None, parent: Place | None) -> None:
        """A tensor in memory that is there. ``view`` None: it is not known how it came about."""
        storage = self.storage_of(tensor)
        if storage is None:  # of a constant that was there before the run
            return
        if parent is None or view is None:
            place = Place(storage, geometry(tensor))
        else:
            place = Place(storage, geometry(tensor), view, parent)
        if storage.live and value is not None:
            storage.values[place.geometry] = value
        self._places[tensor] = place

    # --- reading --------------------------------------------------------------------------------

    def fold(self, tensor: Tensor) -> Folded:
        """A constant with the values that the tensor has now."""
        return self._pool.fold(tensor)

    def read(self, tensor: Tensor, call: Called) -> Any:
        """The value of a tensor as an operand: recorded, or a constant with its present values."""
        if not self.is_live(tensor):
            return self._pool.fold(tensor)
        place = self.place_of(tensor)
        if place is None:
            why = "it reads a view that was made in a way that the recording does not see"
            raise call.refusal(why)
        return self._current(place, call)

    def _current(self, place: Place, call: Called) -> Any:
        storage = place.storage
        if place.geometry in storage.values:
            return storage.values[place.geometry]
        if storage.broken or place.view is None or place.parent is None:
            writer = storage.broken or "an operator"
            raise call.refusal(f"it reads memory that {writer} wrote to through another view")
        value = self._current(place.parent, call)
        view = place.view
        if view.operator:
            arguments = {**view.arguments, view.base: value}
            results = self._steps.emit(view.operator, view.path, arguments, view.kinds)
            value = results[view.position]
        storage.values[place.geometry] = value
        return value

    # --- writing --------------------------------------------------------------------------------

    def prepare(self, tensor: Tensor, call: Called) -> Callable[[Any], None]:
        """To be called before an operator writes to a tensor.

        Returns:
            What is to be called afterwards, with the tensor's new value.
        """
        place = self.place_of(tensor)
        if place is None:
            why = "it writes to a view that was made in a way that the recording does not see"
            raise call.refusal(why)
        chain = [place]
        while chain[-1].parent is not None:
            chain.append(chain[-1].parent)
        if not place.storage.live and chain[-1].whole:
            whole = chain[-1].geometry
            place.storage.values = {whole: self._pool.fold(_at(tensor, whole))}
        bases = [self._before(child, call) for child in chain[:-1]]
        return functools.partial(self._write, chain, bases, call)

    def _before(self, child: Place, call: Called) -> Any:
        """The value of the child's parent, if a write to the child leaves parts of it."""
        assert child.view is not None
        assert child.parent is not None
        way = undo(child.view, None, None)
        return self._current(child.parent, call) if way is not None and way[2] else None

    def _write(self, chain: list[Place], bases: list[Any], call: Called, value: Any) -> None:
        storage = chain[0].storage
        values = {chain[0].geometry: value}
        broken = not chain[-1].whole
        for child, base in zip(chain, bases, strict=False):
            assert child.view is not None
            assert child.parent is not None
            way = undo(child.view, base, value)
            if way is None:
                broken = True
                break
            func, args, _ = way
            if func is not None:
                value = self._steps.call(func, call.path, args)
            values[child.parent.geometry] = value
        storage.values, storage.live = values, True
        if broken:
            storage.broken = call.operator
        elif isinstance(value, Folded) and not storage.broken:
            storage.live = False  # all of it has been overwritten with constants


def geometry(tensor: Tensor) -> Geometry:
    """Where a tensor is in its storage, and how it lies there."""
    return (
        tensor.storage_offset(),
        tuple(tensor.shape),
        tensor.stride(),
        tensor.dtype,
        tensor.is_conj(),
        tensor.is_neg(),
    )


def _at(tensor: Tensor, place: Geometry) -> Tensor:
    """The tensor in the same memory that has this geometry."""
    offset, sizes, strides, dtype, conjugate, negative = place
    found = torch.empty(0, dtype=dtype)
    found.set_(tensor.untyped_storage(), offset, sizes, strides)
    found = found.conj() if conjugate else found
    return torch._neg_view(found) if negative else found
