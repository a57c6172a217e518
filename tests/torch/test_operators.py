"""The operators' records: schemas that saved graphs rely on, and what torch is told from them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fracstride.conv1d_geometry import Conv1dGeometry
from fracstride.geometry import Geometry
from fracstride.torch.operators.operator import Operator
from fracstride.torch.operators.register import OPERATORS

SIZES = (
    "int stride, int padding_left, int padding_right, SymInt output_padding, "
    "int group_channels, int dilation, str padding_mode) -> Tensor"
)
SCHEMAS = [
    f"fracstride::conv_transpose1d(Tensor input, Tensor weight, Tensor? bias, {SIZES}",
    "fracstride::conv_transpose1d_input_grad(Tensor grad_output, Tensor weight, "
    f"SymInt input_length, {SIZES}",
    "fracstride::conv_transpose1d_weight_grad(Tensor input, Tensor grad_output, int kernel_size, "
    f"{SIZES}",
    *(
        f"fracstride::conv1d{rest}, int stride, int padding_left, int padding_right, "
        "int group_channels, int dilation, str padding_mode) -> Tensor"
        for rest in (
            "(Tensor input, Tensor weight, Tensor? bias",
            "_input_grad(Tensor grad_output, Tensor weight, SymInt input_length",
            "_weight_grad(Tensor input, Tensor grad_output, int kernel_size",
        )
    ),
]


def operands(operator: Operator, groups: int) -> tuple[Any, ...]:
    """Operands of 4 channels in and out: whole numbers, so that sums are exact in any order."""
    torch.manual_seed(0)
    of = Conv1dGeometry if operator.name.startswith("conv1d") else Geometry
    g = of(5, stride=2, padding=(1, 2), padding_mode="reflect")
    x, w, b, gy = (
        torch.randint(-4, 5, shape).double()
        for shape in ((4, 4, 6), (4, 4 // groups, 5), (4,), (4, 4, g.output_length(6)))
    )
    own: dict[str, tuple[Any, ...]] = {
        "": (x, w, b),
        "_input_grad": (gy, w, 6),
        "_weight_grad": (x, gy),
    }
    return *own[operator.name.partition("1d")[2]], g, groups


def test_schemas_stay_as_saved_graphs_have_them() -> None:
    schemas = [str(getattr(torch.ops.fracstride, o.name).default._schema) for o in OPERATORS]
    assert schemas == SCHEMAS


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
@pytest.mark.parametrize("groups", [1, 2])
def test_operands_and_arguments_are_two_forms_of_the_same(operator: Operator, groups: int) -> None:
    given = operands(operator, groups)
    *own, geometry, found = operator.operands(*operator.arguments(*given))
    assert all(a is b for a, b in zip(own, given, strict=False))
    assert (geometry, found) == (given[-2], groups)
    assert operator.shape(*given) == operator.kernel(*given).shape
    assert operator.channels(*operator.arguments(*given)) == (4, 4 // groups, 4 // groups)


@pytest.mark.parametrize(
    ("operator", "way"),
    [(operator, way) for operator in OPERATORS for way in operator.cuts],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_two_ranks_make_the_whole(operator: Operator, way: str) -> None:
    """What each computes of its parts, put together as the record says."""
    groups = 2 if way == "groups" else 1
    arguments = operator.arguments(*operands(operator, groups))
    run: Callable[..., Tensor] = getattr(torch.ops.fracstride, operator.name)
    *cuts, of_result = operator.cuts[way]

    def part(tensor: Tensor, cut: int | str, rank: int) -> Tensor:
        if isinstance(cut, int):
            return tensor.chunk(2, cut)[rank]
        return tensor if cut == "whole" or rank == 0 else torch.zeros_like(tensor)

    results = []
    for rank in (0, 1):
        tensors = [part(a, cut, rank) for a, cut in zip(arguments, cuts, strict=False)]
        results.append(run(*tensors, *arguments[operator.tensors :]))
    if isinstance(of_result, int):
        together = torch.cat(results, of_result)
    else:
        together = results[0] + results[1] if of_result == "sum" else results[1]
    assert torch.equal(together, run(*arguments))


def test_distributed_code_is_not_imported() -> None:
    code = """
        import sys, torch, fracstride.torch as ft
        layer = ft.ConvTranspose1d(2, 2, 3)
        layer(torch.ones(1, 2, 5)).sum().backward()
        loaded = ("torch.distributed.tensor", "fracstride.torch.distributed")
        print([name for name in loaded if name in sys.modules])
        """
    lines = "\n".join(line.strip() for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_new_operator_is_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    from fracstride.torch.operators import operator as records
    from fracstride.torch.operators.register import register

    monkeypatch.setattr(records, "_operators", dict(records._operators))

    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor, y: Tensor, geometry: Geometry, groups: int) -> Tensor:
            return operator.undifferentiated(x, y, geometry, groups)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
            doubled = records.call("sum_for_tests", g, g, None, 1)
            return g, doubled - g, None, None

    def add(x: Tensor, y: Tensor, *_: Any) -> Tensor:
        return x + y

    def vmap_rule(to: Any, n: int, dims: tuple[Any, ...], x: Tensor, y: Tensor, *layer: Any) -> Any:
        return to(x.movedim(dims[0], 0), y if dims[1] is None else y.movedim(dims[1], 0), *layer), 0

    operator = Operator(
        name="sum_for_tests",
        schema="Tensor input, Tensor other",
        tensors=2,
        operands=lambda x, y: (x, y, None, 1),
        arguments=lambda x, y, geometry, groups: (x, y),
        shape=lambda x, *_: x.shape,
        kernel=add,
        fallback=add,
        function=Sum,
        vmap_rule=vmap_rule,
        flops=lambda shape, *_, **__: 7,
        channels=lambda x, y: (1, 1, 1),
        cuts={"whole": ("whole", "whole", "whole")},
    )
    register(operator)
    call = torch.ops.fracstride.sum_for_tests
    x, y = torch.randn(3, 2, requires_grad=True), torch.randn(3, 2, requires_grad=True)
    call(x, y).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))  # type: ignore[arg-type]
    assert torch.equal(y.grad, torch.ones_like(y))  # type: ignore[arg-type]
    for dims in ((0, 0), (0, None)):
        rows = torch.func.vmap(call, dims)(x, y if dims[1] == 0 else y[0])
        assert torch.equal(rows, x + (y if dims[1] == 0 else y[0]))
    assert call(x.to("meta"), y.to("meta")).shape == x.shape
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counted, torch.no_grad():
        call(x, y)
    assert counted.get_total_flops() == 7
