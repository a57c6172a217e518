"""``compile``: a torch module as a network, for inference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fracstride.network.recording import Conditions, Reference
from fracstride.torch.capture.assembled import assemble
from fracstride.torch.capture.driver import Assemble, Captured, capture
from fracstride.torch.capture.example import Example, Layout, check_plain
from fracstride.torch.capture.unchanged import unchanged

__all__ = ["CompiledModule", "compile"]


def compile(module: nn.Module, *example: Tensor, time: Any = -1) -> CompiledModule:
    """A module as a network: tensors in, tensors out, of any length and any batch.

    The module runs as it is, in eval mode and ``torch.inference_mode``, at several lengths, batch
    sizes and values. The operators that it calls become the network; what they read that does not
    depend on the inputs is a constant, and is read once. The network is compared with the module in
    each of these runs. Operators that the library does not know run in torch inside the network.

    Args:
        module: any module on the CPU. It is left as it was, its training mode included.
        example: what the module is called with: tensors of floats, or of integers such as codes. A
            module that wants keywords is wrapped in one that does not.
        time: the axis of time of each example: an int for all of them, or a tuple with an int for
            each, None for one without time. Lengths stay in the example's proportion: for frames
            ``(1, 80, 100)`` and a source ``(1, 1, 25600)``, the source is 256 times as long. The
            axis 0 of all examples is the batch, if two rows together give what each gives alone;
            else the inputs must have the example's sizes.

    Returns:
        The network, called as the module is. Results have the structure that the module gives them.

    Raises:
        TypeError, ValueError: an argument is not what it must be.
        ValueError: the module cannot be represented, or the network would differ from it by more
            than rounding. The message names submodule and operator. Reasons are random numbers,
            writes to parameters, buffers or inputs, values that decide about shapes or the way
            through the module's Python code, and constants that grow with the length.

    >>> decoder = nn.Sequential(nn.ConvTranspose1d(4, 2, 4, stride=2), nn.LeakyReLU(0.1))
    >>> net = compile(decoder, torch.randn(1, 4, 10))
    >>> net(torch.randn(3, 4, 25)).shape
    torch.Size([3, 2, 52])
    """
    return compiled(module, example, time, assemble)


def compiled(
    module: nn.Module, example: Sequence[Any], time: Any, make: Assemble
) -> CompiledModule:
    """:func:`compile` with what makes a network of a recording."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    checked = Example.of(example, time)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise ValueError(
                f"module must have parameters, and {name} has none yet: call the module once"
            )
        if tensor.device.type != "cpu":
            raise ValueError(f"module must be on the CPU, and {name} is on {tensor.device}")
    with unchanged(module):
        return CompiledModule(capture(module, checked, make))


class CompiledModule:
    """A torch module as a network; :func:`fracstride.torch.compile` makes it.

    ``network`` is the part without torch. ``least`` is the least number of ticks: the example's
    lengths in their smallest proportion last one.
    """

    def __init__(self, captured: Captured) -> None:
        self._captured = captured
        #: The least number of ticks that the inputs must last.
        self.least = captured.least
        # A graph of torch.compile calls a network as it is. (As a decorator, this would load
        # Dynamo, for a second, together with the library.)
        self._outside_graphs = torch.compiler.disable(self._run)

    @property
    def network(self) -> Any:
        """The network, on arrays."""
        return self._captured.assembled.network

    def __call__(self, *inputs: Tensor) -> Any:
        """What the module gives, in new tensors without derivatives.

        Args:
            inputs: as the examples are, of any length and batch.

        Raises:
            TypeError, ValueError: an input does not fit, with what would.
        """
        return self._outside_graphs(*inputs)

    def _run(self, *inputs: Tensor) -> Any:
        captured = self._captured
        conditions = check_inputs(captured.example.layouts, inputs, captured.least)
        for guard in captured.guards:
            if not guard.holds(conditions):
                raise ValueError(
                    f"with inputs of this size, {guard.described(conditions)} and takes a way "
                    "through its code that the network does not have; give compile() an example "
                    "of such a size"
                )
        with torch.no_grad():
            results = captured.assembled(inputs, conditions.clock, conditions.batch)
        return captured.structure.build(_shared(captured.recording.outputs, results))

    def astype(self, dtype: torch.dtype | str) -> CompiledModule:
        """The same network in another dtype: ``net.astype("bfloat16")``.

        Args:
            dtype: float32, float64, float16 or bfloat16.

        Raises:
            TypeError: another dtype.
        """
        name = str(dtype).removeprefix("torch.")
        captured = self._captured
        assembled = captured.assembled.astype(name)
        example = captured.example.astype(getattr(torch, name))
        return CompiledModule(replace(captured, assembled=assembled, example=example))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file that :func:`fracstride.load` reads, without torch.

        What is read takes and gives arrays with the axes that the module's tensors have; several
        results are a tuple.

        Args:
            path: where it goes, such as ``"decoder.safetensors"``.

        Raises:
            ValueError: an operation runs in torch, or a result is a constant; it is named.
            ModuleNotFoundError: safetensors is not installed.
        """
        self._captured.assembled.save(path)

    def __str__(self) -> str:
        return str(self.network)

    def __repr__(self) -> str:
        shapes = ", ".join(layout.described() for layout in self._captured.example.layouts)
        return f"CompiledModule(inputs: {shapes}, T >= {self.least})"


def check_inputs(layouts: Sequence[Layout], inputs: Sequence[Any], least: int) -> Conditions:
    """Ticks and rows of the inputs of a call.

    Raises:
        TypeError, ValueError: an input does not fit, with what would.
    """
    if len(inputs) != len(layouts):
        raise TypeError(f"the network takes {len(layouts)} inputs, got {len(inputs)}")
    clock = batch = None
    for place, (layout, tensor) in enumerate(zip(layouts, inputs, strict=True)):
        name = "input" if len(layouts) == 1 else f"input {place}"
        _check_kind(name, layout, tensor)
        if layout.time is not None:
            clock = _ticks(name, layout, tensor.shape[layout.time], clock, least)
        if layout.batched:
            rows = tensor.shape[0]
            if batch not in (None, rows):
                raise ValueError(f"{name} must have the batch of the others, {batch}, got {rows}")
            batch = rows
    assert clock is not None
    return Conditions(clock, 1 if batch is None else batch)


def _check_kind(name: str, layout: Layout, tensor: Any) -> None:
    check_plain(name, tensor)
    if layout.dtype.is_floating_point:
        if tensor.dtype != layout.dtype:
            raise TypeError(f"{name} must have the dtype {layout.dtype}, got {tensor.dtype}")
    elif tensor.dtype not in (torch.int64, torch.int32, layout.dtype):
        raise TypeError(f"{name} must be codes in int64 or int32, got {tensor.dtype}")
    if tensor.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            f"{name} must not require derivatives, which a network does not have: call it in "
            "torch.no_grad(), or with a detached tensor"
        )
    fixed = [a for a in range(len(layout.sizes)) if a != layout.time and (a or not layout.batched)]
    if tensor.dim() != len(layout.sizes) or any(
        tensor.shape[axis] != layout.sizes[axis] for axis in fixed
    ):
        shape = tuple(tensor.shape)
        raise ValueError(f"{name} must have the shape {layout.described()}, got {shape}")
    if layout.batched and not tensor.shape[0]:
        raise ValueError(f"{name} must have a batch of at least 1, got {tuple(tensor.shape)}")


def _ticks(name: str, layout: Layout, length: int, clock: int | None, least: int) -> int:
    ticks, rest = divmod(length, layout.per_clock)
    if rest:
        raise ValueError(
            f"{name} must have a multiple of {layout.per_clock} positions of time, got {length}"
        )
    if clock not in (None, ticks):
        raise ValueError(
            f"{name} must have {layout.per_clock * (clock or 0)} positions of time, in proportion "
            f"to the inputs before it, got {length}"
        )
    if ticks < least:
        raise ValueError(
            f"{name} must have at least {layout.per_clock * least} positions of time for this "
            f"module, got {length}"
        )
    return ticks


def _shared(outputs: Sequence[Any], results: list[Tensor]) -> list[Tensor]:
    """The results, with one tensor where the module gives the same one twice."""
    first: dict[int, Tensor] = {}
    shared = []
    for output, result in zip(outputs, results, strict=True):
        if isinstance(output, Reference):
            result = first.setdefault(output.index, result)
        shared.append(result)
    return shared
