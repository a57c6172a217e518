"""The libraries that are compared, each in the form in which its users would run a layer fast.

A peer is one subclass of :class:`Candidate` and its place in :data:`CANDIDATES`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime as ort
import torch
from layers import Array, Problem, torch_sizes
from onnx import TensorProto, helper, numpy_helper

import fracstride as fs
import fracstride.torch


class Candidate:
    """One way to compute the forward pass of a problem with a number of threads.

    A subclass sets ``call`` to one forward pass with as little around it as possible. Work that a
    user would do once per layer belongs into ``__init__`` and is not timed.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    call: Callable[[], Any]

    def __init__(self, problem: Problem, threads: int) -> None:
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        """Version of the package."""
        return version(cls.package)

    def running(self) -> AbstractContextManager[Any]:
        """The context in which calls are made."""
        return nullcontext()

    def output(self) -> Array:
        """Call once and return the result."""
        with self.running():
            return np.asarray(self.call())


class Fracstride(Candidate):
    """A layer, which packs its weights on the first call."""

    name = package = "fracstride"

    def __init__(self, problem: Problem, threads: int) -> None:
        fs.set_num_threads(threads)
        n = problem.layer
        layer = fs.ConvTranspose1d.from_weights(
            problem.weight, problem.bias, n.s, n.p, n.output_padding, n.groups, n.dilation
        )
        self.call = partial(layer, problem.x)


class Torch(Candidate):
    """The eager function, in inference mode."""

    name = package = "torch"

    def __init__(self, problem: Problem, threads: int) -> None:
        torch.set_num_threads(threads)
        x, w, b = map(torch.from_numpy, (problem.x, problem.weight, problem.bias))
        function = torch.nn.functional.conv_transpose1d
        self.call = partial(function, x, w, b, *torch_sizes(problem.layer))

    def running(self) -> AbstractContextManager[Any]:
        """Inference mode, entered once and not on every call."""
        return torch.inference_mode()


class OnnxRuntime(Candidate):
    """A graph of one node: weights that it can pack ahead, input and output bound in place.

    Its threads spin between calls, as they do by default. ``force_spinning_stop`` would leave the
    cores to the next candidate, but each call would take ten microseconds and more to wake the
    threads. Here the next candidate starts only after the spinning is over (:func:`timing.settle`).
    """

    name, package = "ORT", "onnxruntime"

    def __init__(self, problem: Problem, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        session = ort.InferenceSession(
            _one_node(problem).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._x = ort.OrtValue.ortvalue_from_numpy(problem.x)
        self._y = ort.OrtValue.ortvalue_from_shape_and_type(problem.layer.output_shape, np.float32)
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", self._x)
        binding.bind_ortvalue_output("y", self._y)
        self.call = partial(session.run_with_iobinding, binding)

    def output(self) -> Array:
        """Call once and return the result."""
        self.call()
        return np.asarray(self._y.numpy())


def _one_node(problem: Problem) -> onnx.ModelProto:
    n = problem.layer
    node = helper.make_node(
        "ConvTranspose",
        ["x", "weight", "bias"],
        ["y"],
        kernel_shape=[n.k],
        strides=[n.s],
        pads=[n.p, n.p],
        output_padding=[n.output_padding],
        group=n.groups,
        dilations=[n.dilation],
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, problem.x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, n.output_shape)],
        [
            numpy_helper.from_array(problem.weight, "weight"),
            numpy_helper.from_array(problem.bias, "bias"),
        ],
    )
    opsets = [helper.make_opsetid("", 17)]  # old enough for every version of ONNX Runtime in use
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


class Module(Candidate):
    """A torch module, in inference mode."""

    package = "torch"
    kind: ClassVar[type[torch.nn.ConvTranspose1d]]

    def __init__(self, problem: Problem, threads: int) -> None:
        torch.set_num_threads(threads)
        fs.set_num_threads(threads)
        n = problem.layer
        module = type(self).kind(
            n.C_in, n.C_out, n.k, n.s, n.p, n.output_padding, n.groups, True, n.dilation
        )
        state = {"weight": torch.from_numpy(problem.weight), "bias": torch.from_numpy(problem.bias)}
        module.load_state_dict(state)
        self.call = partial(module, torch.from_numpy(problem.x))

    def running(self) -> AbstractContextManager[Any]:
        """Inference mode, entered once and not on every call."""
        return torch.inference_mode()


class FracstrideModule(Module):
    """Ours."""

    name, kind = "fracstride.torch module", fracstride.torch.ConvTranspose1d


class TorchModule(Module):
    """torch's own."""

    name, kind = "torch module", torch.nn.ConvTranspose1d


CANDIDATES: tuple[type[Candidate], ...] = (Fracstride, Torch, OnnxRuntime)  # ours comes first
MODULES: tuple[type[Candidate], ...] = (FracstrideModule, TorchModule)
