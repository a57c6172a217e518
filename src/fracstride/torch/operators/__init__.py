"""The operators ``torch.ops.fracstride``: what compilers, subclasses, modes and devices meet.

To add an operator, write one file here and add its record to the list in :mod:`register`. The file
holds a record of the class :class:`~fracstride.torch.operators.operator.Operator` and what the
record names: the schema, the kernel for CPU tensors, the same map in torch's own operators for
other devices, the derivatives, the rule for ``vmap``, the ways in which DTensor may cut it, and its
floating-point operations. A kernel in Triton is optional: without one, GPUs use the fallback.
Everything that torch has to know is registered from the record; no other file of this package knows
how many operators there are. Beside the record:

- ``tests/torch/test_operators.py`` needs the schema, which saved graphs rely on, and operands.
- A way to cut that no operator has yet needs a line in ``possible`` of ``distributed/ways.py``,
  which says when it is possible. Signals cut along time (``distributed/dtensor.py``) are for the
  layers alone: the input of another operator is gathered along time first.
- A public function of its own goes, as that of ``conv_transpose1d`` does, into a file like
  ``functional.py`` and into ``fracstride/torch/__init__.py``. Compilers and exporters come to it by
  ``graph.py``, TorchScript by ``scripting.py``.

The operators that are here are two layers, the transposed convolution and the Conv1d, each with its
two adjoints. A file has the same map of both layers: their derivatives are alike, and the geometry
among the operands says which layer is meant (:func:`~.operator.of_layer`). The maps share code by
technique: ``kernels.py`` has them as calls of compiled kernels, ``fallback.py`` in torch's own
operators, and ``gpu/maps.py`` those of the transposed layer in Triton. An operator that shares
nothing with them needs none of these files.

T is the transposed convolution. C is the convolution that is its adjoint in the input, and R the
correlation that is its adjoint in the weight. With the same weight a Conv1d of zeros is C; its
adjoint in the input is T, and in the weight R with the operands the other way round. Importing this
package registers the operators.
"""

from fracstride.torch.operators import register as _register  # noqa: F401 - registers them
from fracstride.torch.operators.forward import transposed
from fracstride.torch.operators.input_grad import input_adjoint
from fracstride.torch.operators.weight_grad import weight_adjoint

__all__ = ["input_adjoint", "transposed", "weight_adjoint"]
