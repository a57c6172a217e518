"""One run of a module, recorded operator by operator."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fracstride.torch.capture import operators
from fracstride.torch.capture.aliases import View, views_of
from fracstride.torch.capture.called import Called, tensors_in
from fracstride.torch.capture.constants import Pool
from fracstride.torch.capture.lengths import Log
from fracstride.torch.capture.memory import Memory
from fracstride.torch.capture.paths import Paths
from fracstride.torch.capture.refusal import RefusedError
from fracstride.torch.capture.steps import Steps, is_recorded, kind_of
from fracstride.torch.capture.watch import Watch
from fracstride.torch.capture.writes import view_in_place, write

__all__ = ["Recorder"]


class Recorder(TorchDispatchMode):
    """Records what descends from the inputs; a context manager around a call of the module.

    Args:
        inputs: tensors of its own, made for it.
        paths: of the module.
        pool: of the constants of all runs.
        filling: what memory holds that nothing has written to yet.
    """

    def __init__(self, inputs: list[Tensor], paths: Paths, pool: Pool, filling: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._paths, self._filling = paths, filling
        self.steps = Steps()
        self.memory = Memory(pool, self.steps)
        #: The first refusal: the module may have caught it.
        self.refused: RefusedError | None = None
        self.log = Log(lambda: paths.current)
        #: To be entered after the recorder.
        self.watch = Watch(self.memory.known, lambda: paths.current, self.log, self._refuse)
        #: Path and operator of the last call, for errors of the module.
        self.last = "", ""
        #: Whether memory was made that nothing had written to.
        self.uninitialised = False
        for tensor in inputs:
            self.memory.add(tensor, self.steps.new(kind_of(tensor)), made=False)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            if self.refused is not None:
                raise self.refused
            try:
                return self._handle(Called(func, args, kwargs or {}, self._paths.current))
            except RefusedError as refused:
                self.refused = refused
                raise

    def _refuse(self, refused: RefusedError) -> None:
        self.refused = self.refused or refused

    def result(self, tensor: Tensor) -> Any:
        """What a result of the module is: a recorded tensor, or a constant."""
        func = torch.ops.aten.alias.default
        return self.memory.read(tensor, Called(func, (tensor,), {}, ""))

    def _handle(self, call: Called) -> Any:
        self.last = call.path, call.operator
        if operators.is_random(call):
            raise call.refusal("it draws random numbers; make the noise an input of the module")
        for tensor in call.tensors:
            _check_kind(tensor, call)
        self._check_writes(call)
        live = any(map(self.memory.is_live, call.tensors))
        if call.packet in operators.SHAPE_ONLY:
            live = False
        if live and operators.depends_on_values(call, self.memory.is_live):
            raise call.refusal(
                "values of the signal decide about a shape or leave the graph for Python, which "
                "cannot be recorded"
            )
        if torch.Tag.inplace_view in call.func.tags:
            return view_in_place(call, self.memory, self.steps)
        if not live:
            return self._constant(call)
        return write(call, self.memory, self.steps) if call.written else self._read(call)

    def _check_writes(self, call: Called) -> None:
        for tensor in (*call.targets, *operators.hidden_writes(call)):
            if self.memory.is_made(tensor) or call.packet == "aten.detach_":
                continue
            if self.memory.is_live(tensor):
                raise call.refusal("it writes to an input of the module; let it write to a clone")
            raise call.refusal(
                "it writes to a parameter, a buffer or another tensor that was there before the "
                "call; a network keeps no state from call to call"
            )

    def _constant(self, call: Called) -> Any:
        """A call that does not depend on the values of the inputs."""
        result = call.run()
        made = tensors_in(result)
        if call.packet == "aten.lift_fresh":  # of numbers that Python holds: torch.tensor
            self.memory.add(result, None)
        if call.packet in operators.UNINITIALISED:
            self.uninitialised = True
            for tensor in made:
                _fill(tensor, self._filling)
        if not call.written:
            self._place(call, made, [None] * len(made), functools.partial(views_of, call, made))
        return result

    def _read(self, call: Called) -> Any:
        """A call that reads the inputs, or what descends from them, and writes to nothing."""
        if operators.hidden_writes(call):
            raise call.refusal("it writes to statistics that no later call would see")
        read = functools.partial(self.memory.read, call=call)
        operands = self.steps.operands(call, list(call.bound), read)
        result = call.run()
        made = tensors_in(result)
        if not made and operators.is_metadata(call):
            return result
        if not made:
            raise call.refusal("what it finds in the signal leaves the graph for Python")
        for tensor in made:
            _check_kind(tensor, call)
        if len(made) == 1 and any(made[0] is tensor for tensor in call.tensors):
            return result
        if len(made) == 1 and operators.is_identity(call, made[0]):
            value = operands[call.first]
            same = View.same(kind_of(made[0]))
            self._place(call, made, [value if is_recorded(value) else None], lambda: [same])
            return result
        kinds = [kind_of(tensor) for tensor in made]
        values = self.steps.emit(call.operator, call.path, operands, kinds)
        self.steps.keep(values, made)
        self._place(call, made, values, functools.partial(views_of, call, made, operands))
        return result

    def _place(
        self,
        call: Called,
        made: list[Tensor],
        values: Sequence[Any],
        views: Callable[[], list[View] | None],
    ) -> None:
        """Results take their place in the memory of an argument, or in memory of their own."""
        known: list[View] | None = None
        for position, tensor in enumerate(made):
            if any(tensor is other for other in (*call.tensors, *made[:position])):
                continue
            parent = self.memory.sharing(tensor, call.tensors)
            if parent is None:
                self.memory.add(tensor, values[position])
                continue
            known = known or views()
            view = known[position] if known and parent is call.bound[call.first] else None
            self.memory.add_view(tensor, values[position], view, self.memory.place_of(parent))


def _check_kind(tensor: Tensor, call: Called) -> None:
    """Refuses tensors whose numbers are not simply there."""
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        raise call.refusal("transforms of torch.func cannot be recorded")
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        raise call.refusal(f"{type(tensor).__name__} is a tensor with a dispatch of its own")
    if tensor.device.type != "cpu":
        raise call.refusal(f"a tensor is on the device {tensor.device}, and must be on the CPU")
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise call.refusal("a tensor is sparse or quantised, which no network can represent")


def _fill(tensor: Tensor, filling: float) -> None:
    if tensor.is_floating_point() or tensor.is_complex():
        tensor.fill_(filling)
    else:
        tensor.fill_(0 if filling != filling else 1)
