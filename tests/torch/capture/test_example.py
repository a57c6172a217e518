"""Example inputs: what is refused, and inputs like them of other sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from fracstride.network.recording import Conditions, Input
from fracstride.torch.capture.example import VALUES, Example


def test_lengths_in_proportion() -> None:
    tensors = torch.zeros(2, 80, 6), torch.zeros(2, 24, 1), torch.zeros(2, 5)
    example = Example.of(tensors, (-1, 1, None))
    assert [layout.per_clock for layout in example.layouts] == [1, 4, 0]
    assert [layout.time for layout in example.layouts] == [2, 1, None]
    assert example.conditions == Conditions(6, 1)
    batched = example.with_batch((0, 1, 2))
    assert batched.conditions == Conditions(6, 2)
    assert [tuple(x.shape) for x in batched.make(Conditions(7, 3), "normal")] == [
        (3, 80, 7), (3, 28, 1), (3, 5)
    ]  # fmt: skip
    assert batched.inputs() == (Input(0, 2, 0, 1), Input(1, 1, 0, 4), Input(2, None, 0, 0))
    assert [layout.described() for layout in batched.layouts] == [
        "(B, 80, T)", "(B, 4*T, 1)", "(B, 5)"
    ]  # fmt: skip


def test_longer_ticks() -> None:
    example = Example.of((torch.zeros(1, 6), torch.zeros(1, 12)), -1).with_tick(3)
    assert [layout.per_clock for layout in example.layouts] == [3, 6]
    assert example.conditions == Conditions(2, 1)


def test_ways_to_have_a_batch() -> None:
    tensors = torch.zeros(2, 3, 6), torch.zeros(2), torch.zeros(5, 4), torch.tensor(1.0)
    example = Example.of(tensors, (-1, None, None, None))
    assert example.batches() == [(0, 1), (0,)]
    assert Example.of((torch.zeros(6, 1),), 0).batches() == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("values", VALUES)
def test_values(values: str, dtype: torch.dtype) -> None:
    example = Example.of(((torch.randn(1, 3, 50) * 20).to(dtype),), -1).with_batch((0,))
    (x,) = example.make(Conditions(80, 2), values, 3)
    assert (x.dtype, tuple(x.shape)) == (dtype, (2, 3, 80))
    assert torch.equal(x, example.make(Conditions(80, 2), values, 3)[0])
    if values in ("normal", "other"):
        assert 10 < float(x.double().std()) < 40
        assert not torch.equal(x, example.make(Conditions(80, 2), values, 4)[0])
    if values == "own":
        given = example.tensors[0]
        assert torch.equal(x[1:, :, :50], given)
        assert torch.equal(x[:1, :, 50:], given[..., :30])
    if values == "large":
        assert float(x.double().std()) > 80
    if values == "small":
        assert 0 < float(x.double().std()) < 0.1
    if values in ("zeros", "constant"):
        assert (x == x[0, 0, 0]).all()
        assert bool(x.any()) == (values == "constant")


def test_codes_stay_in_their_table() -> None:
    example = Example.of((torch.tensor([[3, 9, 4, 0]]),), -1)
    for values in VALUES:
        (x,) = example.make(Conditions(50, 1), values)
        assert x.dtype == torch.int64
        assert x.min() >= 0
        assert x.max() <= 9
    assert len(example.make(Conditions(50, 1), "normal")[0].unique()) > 5


def test_an_example_with_one_code() -> None:
    example = Example.of((torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, 4)), -1)
    assert not example.make(Conditions(50, 1), "normal")[0].any()
    more = example.with_codes(0, 2)
    assert more.make(Conditions(50, 1), "normal")[0].unique().tolist() == [0, 1, 2]
    assert (more.make(Conditions(50, 1), "constant")[0] == 2).all()


def test_the_global_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    Example.of((torch.zeros(1, 4),), -1).make(Conditions(50, 1), "normal")
    assert torch.equal(torch.get_rng_state(), state)


X = torch.zeros(1, 3, 4)
WRONG: dict[str, tuple[tuple[Any, ...], Any, type[Exception], str]] = {
    "nothing": ((), -1, ValueError, "example must hold what the module is called with, got noth"),
    "list": (([1.0],), -1, TypeError, "example must be a tensor, got list"),
    "array": ((X, X.numpy()), -1, TypeError, "example 1 must be a tensor, got ndarray"),
    "complex": ((X.cfloat(),), -1, TypeError, "dtype float32, .* integer type, got torch.complex"),
    "bool": ((X.bool(),), -1, TypeError, "got torch.bool"),
    "meta": ((X.to("meta"),), -1, ValueError, "must be on the CPU, got a tensor on meta"),
    "sparse": ((X.to_sparse(),), -1, TypeError, "must be dense, got a tensor of layout torch.sp"),
    "empty": ((X[..., :0],), -1, ValueError, r"must not be empty, got shape \(1, 3, 0\)"),
    "axis": ((X,), 3, ValueError, "time must be an axis of example, -3 to 2, got 3"),
    "low axis": ((X,), -4, ValueError, "time must be an int >= -3, got -4"),
    "float": ((X,), 1.0, TypeError, "time must be an int"),
    "bool axis": ((X,), True, TypeError, "time must be an int"),
    "count": ((X, X), (1,), ValueError, "one entry for each of the 2 examples, got"),
    "no time": ((X, X), (None, None), ValueError, "at least one example, got"),
    "none": ((X,), None, ValueError, "at least one example, got None"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong(case: str) -> None:
    tensors, time, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        Example.of(tensors, time)


def test_fake_tensors() -> None:
    with FakeTensorMode():
        fake = torch.zeros(1, 3, 4)
    with pytest.raises(TypeError, match="must be an ordinary tensor, got a FakeTensor"):
        Example.of((fake,), -1)


def test_values_of_an_example_that_is_a_view() -> None:
    base = torch.arange(24.0).reshape(1, 4, 6)
    example = Example.of((base.transpose(1, 2)[:, ::2],), 1)
    (x,) = example.make(example.conditions, "own")
    assert torch.equal(x, base.transpose(1, 2)[:, ::2])
    assert x.is_contiguous()
    x.zero_()
    assert base.any()


def test_parameters_are_examples_too() -> None:
    given: Tensor = torch.nn.Parameter(torch.ones(1, 2, 3))
    (x,) = Example.of((given,), -1).make(Conditions(3, 1), "own")
    assert not x.requires_grad
