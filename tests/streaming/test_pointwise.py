"""Functions in streams: channels, and results of no samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from streams import check_stream
from test_invariances import same_bits

import fracstride as fs
from fracstride.streaming import Chain, Identity, Pointwise, Stream, Sum


def gate(x: Any) -> Any:
    a, b = np.split(x, 2, -2)
    return np.where(b > 0, a, b)


def test_functions_that_change_the_number_of_channels() -> None:
    conv = fs.ConvTranspose1d(3, 8, 5, padding=2, rng=0)
    back = fs.ConvTranspose1d(4, 3, 5, padding=2, rng=1)
    x = np.random.default_rng(0).standard_normal((2, 3, 30)).astype(np.float32)

    def make() -> Stream:
        return Sum(
            Identity(),
            Chain(conv.stream(2), Pointwise(gate, out_channels=4), back.stream(2)),
        )

    assert (make().in_channels, make().out_channels) == (3, 3)
    check_stream(make, lambda x: x + back(gate(conv(x))), x, [3, 4, 20])
    first = Chain(Pointwise(gate, out_channels=3), conv.stream(2))
    assert (first.in_channels, first.out_channels) == (None, 8)
    assert Chain(Pointwise(gate, out_channels=3, in_channels=6), conv.stream(2)).in_channels == 6
    same_bits(first.finish(np.concatenate([x, -x], 1)), conv(gate(np.concatenate([x, -x], 1))))
    both = Sum(
        Identity(),
        Chain(Pointwise(np.tanh), back.stream(2), conv.stream(2), Pointwise(gate, out_channels=4)),
    )
    assert (both.in_channels, both.out_channels) == (4, 4)
    assert repr(Pointwise(gate, out_channels=4, in_channels=8)) == (
        "Pointwise(gate, out_channels=4, in_channels=8)"
    )


def test_numbers_of_channels_that_do_not_fit() -> None:
    x = np.ones((1, 4, 5), np.float32)
    conv = fs.ConvTranspose1d(3, 8, 5, padding=2, rng=0)
    with pytest.raises(
        ValueError, match=r"of a chunk of shape \(1, 4, 5\). If it .* out_channels="
    ):
        Pointwise(gate).push(x)
    with pytest.raises(ValueError, match=r"function must make \(1, 3, 5\) where out_channels says"):
        Pointwise(gate, out_channels=3).push(x)
    with pytest.raises(ValueError, match="chunk must have 6 channels, got shape"):
        Pointwise(gate, out_channels=3, in_channels=6).push(x)
    with pytest.raises(ValueError, match="out_channels must be a positive int, got 0"):
        Pointwise(gate, out_channels=0)
    with pytest.raises(TypeError, match="in_channels must be a positive int"):
        Pointwise(gate, in_channels="3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="argument 1 of Chain must take the 4 channels"):
        Chain(Pointwise(gate, out_channels=4), conv.stream())
    with pytest.raises(ValueError, match="argument 2 of Chain must take the 8 channels"):
        Chain(conv.stream(), Pointwise(np.tanh), Pointwise(gate, out_channels=3, in_channels=6))
    with pytest.raises(ValueError, match="argument 1 of Sum must put out the 8 channels"):
        Sum(conv.stream(), Chain(Pointwise(np.tanh)))


def test_as_new_after_a_flush() -> None:
    """After a flush the batch size may change, and the kind of array stays."""
    x = np.ones((4, 2, 3))
    for make in (
        Identity,
        lambda: Pointwise(np.tanh),
        lambda: Chain(Identity(), Pointwise(np.tanh)),
        lambda: Sum(Identity(), Pointwise(np.tanh)),
        lambda: Sum(Chain(Identity(), Pointwise(np.tanh)), Identity()),
    ):
        for end in (
            lambda s: s.flush(),
            lambda s: s.reset(),
            lambda s: s.finish(x[:1]),
            lambda s: s.flush(rows=[True]),
            lambda s: s.reset(rows=[True]),
            lambda s: s.restore(make().state()),  # noqa: B023
        ):
            stream = make()
            stream.push(x[:1])
            end(stream)
            assert stream.flush().shape == (0, 0, 0)
            assert stream.flush().dtype == x.dtype
            pieces = [stream.push(x), stream.flush()]
            assert [piece.shape for piece in pieces] == [(4, 2, 3), (4, 2, 0)]
            stream.push(x[0])
            assert stream.flush().shape == (2, 0)
            stream.push(x.astype(np.float32))
            assert stream.flush().dtype == np.float32
    layer = fs.ConvTranspose1d(2, 3, 4, padding="same", rng=0, dtype=np.float64)
    back = fs.ConvTranspose1d(3, 2, 4, padding="same", rng=0, dtype=np.float64)
    for stream, channels in (
        (Chain(Identity(), layer.stream(2)), 3),
        (Chain(layer.stream(2), Pointwise(np.tanh), Identity()), 3),
        (Chain(layer.stream(2), Pointwise(lambda x: x[:, :1], out_channels=1)), 1),
        (Sum(Identity(), Chain(Pointwise(np.tanh), layer.stream(2), back.stream(2))), 2),
    ):
        for _ in range(3):
            assert stream.flush().shape == (2, channels, 0)
            assert stream.flush().dtype == np.float64
            stream.push(x[:2])
            stream.flush()
    assert Pointwise(gate, out_channels=5).flush().shape == (0, 5, 0)


def test_a_kind_of_array_that_is_known_from_the_start() -> None:
    class Long(Pointwise):
        def output_kind(self) -> Any:
            return np.empty(0, np.float64)

    class Short(Pointwise):
        def output_kind(self) -> Any:
            return np.empty(0, np.float32)

    for stream in (
        Long(np.tanh),
        Sum(Short(np.tanh), Long(np.tanh)),
        Chain(Pointwise(np.tanh), Long(np.tanh), Pointwise(np.tanh)),
        Sum(Pointwise(np.tanh), Long(np.tanh)),
    ):
        assert (stream.flush().shape, stream.flush().dtype) == ((0, 0, 0), np.float64)
