"""``compile``: a torch module as a network, for inference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fracstride.network.streaming import NetworkStream
from fracstride.torch.capture.assembled import assemble
from fracstride.torch.capture.driver import Assemble, Captured, capture
from fracstride.torch.capture.example import Example
from fracstride.torch.capture.unchanged import unchanged
from fracstride.torch.inputs import check_guards, check_inputs, checked_classes, shared
from fracstride.torch.network_stream import network_stream

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
    kinds = {path: type(part) for path, part in module.named_modules()}
    with unchanged(module):
        return CompiledModule(capture(module, checked, make), kinds)


class CompiledModule:
    """A torch module as a network. Made by :func:`fracstride.torch.compile`.

    ``network`` is the part without torch. ``least`` is the least number of ticks: the example's
    lengths in their smallest proportion last one.
    """

    def __init__(self, captured: Captured, kinds: dict[str, type[nn.Module]]) -> None:
        self._captured, self._kinds = captured, kinds
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
        check_guards(captured.guards, conditions)
        with torch.no_grad():
            results = captured.assembled(inputs, conditions.clock, conditions.batch)
        return captured.structure.build(shared(captured.recording.outputs, results))

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
        converted = replace(captured, assembled=assembled, example=example)
        return CompiledModule(converted, self._kinds)

    def stream(
        self,
        batch_size: int = 1,
        constants: Sequence[Tensor] = (),
        *,
        elementwise: tuple[type[nn.Module], ...] = (),
    ) -> NetworkStream:
        """The module fed chunk by chunk: the bits of its compiled output for the whole input.

        A push takes as many chunks as the module has inputs with time, with the axes of the
        examples, and gives what the module gives, of the positions that are final.

        Args:
            batch_size: rows ``B`` of each chunk.
            constants: the inputs without time, such as the embedding of a speaker, in their order.
            elementwise: classes of submodules whose output at one time depends on their input at
                that time only, where the library cannot know it. They run in torch, which may
                round a number in another way at the end of a chunk.

        Returns:
            A :class:`fracstride.streaming.Stream` of tensors; its states are dicts of arrays.

        Raises:
            ValueError: an operation looks at the whole signal; it is named, with what would help.
            ValueError, TypeError: an argument does not fit.

        >>> decoder = nn.Sequential(nn.ConvTranspose1d(4, 2, 4, stride=2, padding=1), nn.Tanh())
        >>> stream = compile(decoder, torch.randn(1, 4, 10)).stream()
        >>> pieces = stream.push(torch.randn(1, 4, 7)), stream.flush()
        >>> [piece.shape[2] for piece in pieces], stream.latency
        ([13, 1], 1)
        """
        classes = checked_classes(elementwise)
        paths = [path for path, kind in self._kinds.items() if issubclass(kind, classes)]
        return network_stream(self._captured, batch_size, constants, paths)

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
