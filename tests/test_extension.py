"""The padding modes: the facts of each agree with each other, and with whoever repeats them."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

import fracstride as fs
from fracstride import extension
from fracstride.extension import MODES, PADDING_MODES, check_numbers, source_frame, streamed

ALL = pytest.mark.parametrize("name", PADDING_MODES)


def test_doctests() -> None:
    result = doctest.testmod(extension)
    assert result.attempted > 0
    assert result.failed == 0


def test_names_and_numbers() -> None:
    assert PADDING_MODES == ("zeros", "reflect", "replicate", "circular")
    assert [MODES[name].number for name in PADDING_MODES] == [0, 1, 2, 3]
    assert [MODES[name].name for name in PADDING_MODES] == list(PADDING_MODES)


@ALL
def test_pictures(name: str) -> None:
    def shown(frames: range) -> str:
        sources = [source_frame(t, 4, name) for t in frames]
        return "".join("0" if source is None else "1234"[source] for source in sources)

    picture = " ".join([shown(range(-4, 0)), shown(range(4)), shown(range(4, 8))])
    assert MODES[name].picture == picture
    assert f"``{name}``" in str(extension.__doc__)
    assert f"``{picture}``" in str(extension.__doc__)


@ALL
@pytest.mark.parametrize(
    "public", [fs.conv_transpose1d, fs.ConvTranspose1d, fs.ConvTranspose1d.from_conv1d]
)
def test_docstrings_name_them(public: Any, name: str) -> None:
    assert f'``"{name}"``' in public.__doc__


@ALL
@pytest.mark.parametrize("frames", range(5))
def test_what_edges_mirror(name: str, frames: int) -> None:
    """The frames that an edge copies are the edge frame and those past it that are mirrored."""
    mode, L = MODES[name], 20
    if not mode.streams:
        return
    left = [source_frame(-t, L, name) or 0 for t in range(1, frames + 1)]
    right = [L - 1 - (source_frame(L - 1 + t, L, name) or L - 1) for t in range(1, frames + 1)]
    assert max(left, default=0) == max(right, default=0) == mode.mirrored(frames)


def test_what_streams() -> None:
    """A mode streams if its left extension is the same however long the input is."""
    for name, mode in MODES.items():
        left = [[source_frame(-t, L, name) for t in range(1, 6)] for L in (10, 11)]
        assert mode.streams == (left[0] == left[1])
    assert streamed() == "'zeros', 'reflect' or 'replicate'"


def test_the_compiled_module_has_other_modes() -> None:
    check_numbers(list(PADDING_MODES))
    with pytest.raises(ImportError, match=r"was built from other sources .* are zeros, reflect,"):
        check_numbers(["zeros", "reflect"])
