"""Modules that take codes, compiled: random ones against eager, codecs, and what is refused."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from capture_agreement import assert_agrees
from codec_decoders import CODECS
from drawn_codes import WAYS, Decoder
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import fracstride as fs
import fracstride.torch
from fracstride.network.operations.embedding import Embedding

EXAMPLES = int(os.environ.get("FRACSTRIDE_TEST_EXAMPLES", "6"))
ROUNDING = 2e-5


def foreign(compiled: Any) -> list[str]:
    """The operations that run in torch."""
    names = [node.operation.name for node in compiled.network.graph.nodes]
    return [name for name in names if name.startswith("torch")]


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32), silent=st.booleans())
def test_random_decoders(way: str, seed: int, silent: bool) -> None:
    torch.manual_seed(seed)
    module = Decoder(random.Random(seed).randint, way).eval()
    example = [x * (not silent) for x in module.example(1, 12)]
    compiled = fracstride.torch.compile(module, *example, time=module.time)
    assert not foreign(compiled)
    for clock in (*range(compiled.least, compiled.least + 3), 23, 50):
        for batch in (1, 2, 3):
            assert_agrees(compiled, module, module.example(batch, clock), ROUNDING)
    inputs = module.example(2, 31)
    assert torch.equal(compiled(*inputs), compiled(*(x.int() for x in inputs)))


@pytest.mark.parametrize("name", CODECS)
def test_codecs(name: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    module, books = CODECS[name]()
    compiled = fracstride.torch.compile(module, torch.zeros(1, books, 12, dtype=torch.int64))
    assert not foreign(compiled)
    for clock, batch in ((compiled.least, 1), (13, 2), (40, 3)):
        codes = torch.randint(0, 16, (batch, books, clock))
        assert_agrees(compiled, module, (codes,), ROUNDING)
    compiled.save(tmp_path / "codec.safetensors")
    loaded = fs.load(tmp_path / "codec.safetensors")
    codes = torch.randint(0, 16, (2, books, 21))
    wanted = tree_leaves(compiled(codes))
    for array in (codes.numpy(), codes.int().numpy()):
        for ours, theirs in zip(tree_leaves(loaded(array)), wanted, strict=True):
            assert np.array_equal(ours, theirs.numpy())


class Of(nn.Module):
    """A function of codes, with a table of 11 codes and the numbers of a quantiser of scalars."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.table = nn.Embedding(11, 4)
        self.register_buffer("levels", torch.tensor([3, 2, 2]))
        self.register_buffer("basis", torch.tensor([1, 3, 6]))

    def forward(self, *codes: Tensor) -> Any:
        return self.function(self, *codes)


def scalars(self: Any, codes: Tensor) -> Tensor:
    """Finite scalar quantisation: the digits of a code are the numbers."""
    digits = (codes.unsqueeze(-1) // self.basis) % self.levels
    half = self.levels // 2
    return ((digits - half) / half).transpose(1, 2)


# What is done with codes (B, T), below 11, without torch.
READ: dict[str, Any] = {
    "arithmetic": lambda self, c: self.table((c * 2 - 3).clamp(0, 10)),
    "clamped below": lambda self, c: self.table((c - 2).clamp(min=0)),
    "clamped above": lambda self, c: self.table((1 + c).clamp_max(10)),
    "divided": lambda self, c: self.table(c // 3) + self.table(c % 4),
    "rounded": lambda self, c: (
        self.table(torch.div(c, 3, rounding_mode="floor"))
        + self.table(torch.div(c - 5, 2, rounding_mode="trunc") + 2)
    ),
    "quotients": lambda self, c: c / 3,
    "scalars": scalars,
    "floats": lambda self, c: c.to(torch.float32) * 0.5 + c,
    "promoted": lambda self, c: torch.sin(c * 0.3) + self.table(c)[..., 0],
    "padded": lambda self, c: self.table(nn.functional.pad(c, (2, 1), value=3)),
    "cropped": lambda self, c: (self.table(c[:, 2:-1]), c[:, 1:]),
    "joined": lambda self, c: self.table(torch.cat([c[:, None], c[:, None] // 2], 1)),
    "stacked": lambda self, c: self.table(torch.stack([c % 3, c, c], -1)).sum(2),
    "kept axis": lambda self, c: (
        self.table(torch.stack([c, c % 3], 2)).sum(2, keepdim=True) + self.table(c)[:, :, None]
    ),
    "turned": lambda self, c: self.table(
        torch.stack([c % 3, c, c // 2, c], 1).unflatten(1, (2, 2)).transpose(1, 2)
    ),
    "expanded": lambda self, c: self.table(c[:, None].expand(-1, 3, -1)),
    "repeated": lambda self, c: self.table(c).repeat_interleave(3, dim=1),
    "repeated channels": lambda self, c: self.table(c).repeat_interleave(3, dim=-1),
    "repeated rows": lambda self, c: self.table(torch.stack([c, c % 3], 1).repeat_interleave(2, 1)),
    "spread": lambda self, c: (
        self.table(c).mT.unsqueeze(-1).expand(-1, -1, -1, 3).reshape(c.shape[0], 4, -1)
    ),
}
# What runs in torch.
FOREIGN: dict[str, Any] = {
    "sum of codes": lambda self, c: self.table((c * 7 + c // 2) % 11),
    "one of two": lambda self, c: self.table(torch.where(c == 3, 0, c)),
    "one hot": lambda self, c: nn.functional.one_hot(c, 11).float() @ self.table.weight,
    "flat": lambda self, c: self.table(c.reshape(-1)).view(*c.shape, 4),
}


def checked(function: Any, seed: int) -> Any:
    torch.manual_seed(seed)
    module = Of(function).eval()
    compiled = fracstride.torch.compile(module, torch.randint(0, 11, (1, 12)))
    for clock, batch in ((compiled.least, 2), (compiled.least + 1, 1), (12, 3), (37, 2)):
        assert_agrees(compiled, module, (torch.randint(0, 11, (batch, clock)),), ROUNDING)
    return compiled


@pytest.mark.parametrize("kind", READ)
def test_what_is_read(kind: str) -> None:
    assert not foreign(checked(READ[kind], 0))


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_runs_in_torch(kind: str) -> None:
    assert foreign(checked(FOREIGN[kind], 0))


def test_integers_of_32_bits_stay_what_they_are() -> None:
    module = Of(
        lambda self, c: (self.table(c.long()), c[:, 1:], c * 3, c * 10**9 // 7, c.short())
    ).eval()
    example = torch.randint(0, 11, (1, 12), dtype=torch.int32)
    compiled = fracstride.torch.compile(module, example)
    assert_agrees(compiled, module, (torch.randint(0, 11, (2, 31), dtype=torch.int32),), ROUNDING)


def test_a_code_without_time() -> None:
    """A speaker."""
    module = Of(lambda self, c, speaker: self.table(c) + self.table(speaker)[:, None]).eval()
    inputs = torch.randint(0, 11, (1, 12)), torch.randint(0, 11, (1,))
    compiled = fracstride.torch.compile(module, *inputs, time=(-1, None))
    assert not foreign(compiled)
    inputs = torch.randint(0, 11, (3, 20)), torch.randint(0, 11, (3,))
    assert_agrees(compiled, module, inputs, ROUNDING)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_tables_of_another_dtype(dtype: torch.dtype) -> None:
    pytest.importorskip("ml_dtypes")
    torch.manual_seed(0)
    module = Decoder(random.Random(3).randint, "modules").to(dtype).eval()
    compiled = fracstride.torch.compile(module, *module.example(1, 12), time=module.time)
    assert compiled.network.dtype.name == str(dtype).removeprefix("torch.")
    most = {torch.float64: 1e-12, torch.bfloat16: 0.05, torch.float16: 0.005}[dtype]
    assert_agrees(compiled, module, module.example(2, 30), most)


def test_astype_leaves_codes_alone() -> None:
    pytest.importorskip("ml_dtypes")
    torch.manual_seed(0)
    module = Decoder(random.Random(4).randint, "modules").eval()
    half = fracstride.torch.compile(module, *module.example(1, 12), time=module.time).astype(
        "bfloat16"
    )
    codes = module.example(2, 30)
    wanted = module(*codes)
    found = half(*codes)
    assert found.dtype == torch.bfloat16
    assert float((found - wanted).detach().abs().max() / wanted.detach().abs().max()) < 0.1
    # A table is rounded, and its numbers come out as they are.
    table = Of(lambda self, c: self.table(c)).eval()
    rounded = fracstride.torch.compile(table, torch.zeros(1, 5, dtype=torch.int64)).astype(
        "bfloat16"
    )
    codes = (torch.randint(0, 11, (2, 9)),)
    assert torch.equal(rounded(*codes), table(*codes).to(torch.bfloat16))


def test_the_printed_table() -> None:
    module = Of(lambda self, c: self.table(c % 5)).eval()
    lines = str(fracstride.torch.compile(module, torch.zeros(1, 9, dtype=torch.int64))).split("\n")
    assert lines[1].split()[:4] == ["input", "input", "1", "codes"]
    assert "remainder 5" in lines[2]
    assert lines[3].split()[:7] == ["Embedding", "table", "1", "to", "4", "11", "codes"]
    assert lines[3].split()[-1] == "44"


def test_a_network_of_codes_is_pickled() -> None:
    torch.manual_seed(0)
    module = Decoder(random.Random(5).randint, "functional").eval()
    net = fracstride.torch.compile(module, *module.example(1, 12), time=module.time).network
    again = pickle.loads(pickle.dumps(net))
    codes = [
        np.random.default_rng(0).integers(0, module.codes, (2, v.channels, 20))
        for v in net.graph.inputs
    ]
    assert np.array_equal(again(*codes), net(*codes))


# --- which codes are tried ----------------------------------------------------------------------


def highest(compiled: Any) -> list[int]:
    return [layout.codes[1] for layout in compiled._captured.example.layouts]


@pytest.mark.parametrize(
    ("function", "last"),
    [
        (lambda self, c: self.table(c), 10),
        (lambda self, c: self.table(c + 4), 6),
        (lambda self, c: self.table(c // 2), 10),
        (lambda self, c: self.table(c % 11), 10),
        (lambda self, c: c * 0.5, 1023),
    ],
)
def test_an_example_of_zeros_is_tried_with_all_codes(function: Any, last: int) -> None:
    compiled = fracstride.torch.compile(Of(function).eval(), torch.zeros(1, 9, dtype=torch.int64))
    assert highest(compiled) == [last]


def test_each_input_has_codes_of_its_own() -> None:
    module = Of(lambda self, a, b: self.table(a + 4) + self.table(b)).eval()
    zeros = torch.zeros(1, 9, dtype=torch.int64)
    assert highest(fracstride.torch.compile(module, zeros, zeros)) == [6, 10]


def test_lengths_are_no_codes() -> None:
    """An input that nothing is looked up with keeps to the numbers of the example."""

    module = Of(lambda self, codes, n: self.table(codes) * n[:, None, None]).eval()
    zeros = torch.zeros(1, 9, dtype=torch.int64)
    compiled = fracstride.torch.compile(module, zeros, torch.full((1,), 9), time=(-1, None))
    assert highest(compiled) == [10, 9]
    inputs = torch.randint(0, 11, (3, 20)), torch.tensor([3, 20, 11])
    assert_agrees(compiled, module, inputs, ROUNDING)


@pytest.mark.parametrize("example", [0, 5])
def test_a_wrong_look_up_is_found(example: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of codes that the example does not have, too."""
    right = Embedding.compute

    def wrong(self: Embedding, inputs: Sequence[Any], out: Any) -> None:
        right(self, [np.where(inputs[0] == 10, 9, inputs[0])], out)

    monkeypatch.setattr(Embedding, "compute", wrong)
    module = Of(lambda self, c: self.table(c)).eval()
    with pytest.raises(ValueError, match=r"^table \(aten.embedding\): the network differs"):
        fracstride.torch.compile(module, torch.full((1, 12), example))


# --- what is refused ----------------------------------------------------------------------------

CODES = torch.randint(0, 11, (2, 9))
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "too large": (
        torch.full((1, 9), 11),
        ValueError,
        r"^table \(Embedding\): codes must be 0 to 10, got 11$",
    ),
    "negative": (-CODES - 1, ValueError, r"^table \(Embedding\): codes must be 0 to 10, got -\d"),
    "far": (CODES + 2**62, ValueError, r"codes must be 0 to 10, got 46116860184"),
    "floats": (
        CODES.float(),
        TypeError,
        "^input must be codes in int64 or int32, got torch.float32$",
    ),
    "bools": (CODES > 3, TypeError, "bool"),
    "axes": (CODES[0], ValueError, r"^input must have the shape \(B, T\), got \(9,\)$"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_codes_that_do_not_fit(kind: str, tmp_path: Path) -> None:
    given, error, text = WRONG[kind]
    compiled = fracstride.torch.compile(Of(lambda self, c: self.table(c)).eval(), CODES)
    with pytest.raises(error, match=text):
        compiled(given)
    wanted = compiled(CODES)
    assert torch.equal(wanted, compiled(CODES))
    compiled.save(tmp_path / "net.safetensors")
    loaded = fs.load(tmp_path / "net.safetensors")
    with pytest.raises(error):
        loaded(given.numpy())
    assert np.array_equal(loaded(CODES.numpy()), wanted.numpy())


def test_negative_codes_of_a_module_are_refused() -> None:
    """Indexing counts them from the end, and the network does not."""
    module = Of(lambda self, c: self.table.weight[c]).eval()
    with pytest.raises(ValueError, match="codes must be 0 to 10, got -"):
        fracstride.torch.compile(module, torch.tensor([[3, -2, 5, 0, -11, 1]]))
