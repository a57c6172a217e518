"""The kernels' calls: which tensor, size and constant goes where."""

from __future__ import annotations

from math import gcd
from typing import Any

import torch
import triton
from torch import Tensor

from fracstride.geometry import Geometry
from fracstride.torch.gpu import dense, direct
from fracstride.torch.gpu.capture import Launch, capturing, recorder, typical
from fracstride.torch.gpu.shapes import Phases, reached, summed
from fracstride.torch.gpu.tiles import Direct, Tile

__all__ = [
    "forward_densely",
    "forward_directly",
    "input_grad_densely",
    "input_grad_directly",
    "kind_of",
    "sum_parts",
    "tf32_allowed",
    "weight_grad_densely",
    "weight_grad_directly",
]


def forward_densely(
    x: Tensor, w: Tensor, b: Tensor | None, y: Tensor, g: Geometry, groups: int, tile: Tile
) -> None:
    """``T`` by :mod:`dense`, where some tap reaches a sample: ``(part, B, C_out, L_out)``."""
    length = y.shape[-1]
    phases, (first, frames) = Phases.of(g), reached(g, length)
    out_channels = w.shape[1]
    # Whole frames to a tile of rows, where their phases are neighbours in memory.
    one_class = len(phases.classes) == 1
    interleave = (
        one_class and phases.firsts == g.stride and g.dilation == 1 and tile.rows % g.stride == 0
    ) and g.stride > 1
    row_tiles = [triton.cdiv(out_channels * many, tile.rows) for _, many, _ in phases.classes]
    flat = _flat(x.shape[0], frames, tile.columns)
    column_tiles = _column_tiles(x.shape[0], frames, tile.columns, flat)
    align = _alignment(g, length)
    _launch(
        dense.forward,
        sum(row_tiles) * column_tiles * groups * tile.parts,
        x,
        w,
        x if b is None else b.contiguous(),
        y,
        w.shape[0] // groups,
        out_channels,
        groups,
        x.shape[0],
        x.shape[2],
        length // align,
        frames,
        first,
        *x.stride(),
        sum(row_tiles),
        row_tiles[0],
        column_tiles,
        _terms_of_part(tile, w.shape[0] // groups * phases.classes[0][2]),
        K=g.kernel_size,
        STRIDE=g.stride,
        DILATION=g.dilation,
        PADDING=g.padding_left,
        STEP=phases.step,
        SHIFT=phases.shift,
        MODE=g.padding_mode,
        HAS_BIAS=b is not None,
        ONE_CLASS=one_class,
        INTERLEAVE=interleave,
        ALIGN=align,
        FLAT=flat,
        EVEN=all(w.shape[0] // groups * taps % tile.terms == 0 for *_, taps in phases.classes),
        **_of_tile(tile, x, _wide(x, w, y)),
    )


def forward_directly(
    x: Tensor, w: Tensor, b: Tensor | None, y: Tensor, g: Geometry, groups: int, choice: Direct
) -> None:
    """``T`` by :mod:`direct`, where some tap reaches a sample."""
    phases, (first, frames) = Phases.of(g), reached(g, y.shape[2])
    many = triton.next_power_of_2(min(phases.step, g.kernel_size))
    rows = _frames_of(choice, many, frames)
    tiles = triton.cdiv(frames, rows)
    align = _alignment(g, y.shape[2])
    _launch(
        direct.forward,
        y.shape[0] * y.shape[1] * tiles,
        x,
        w,
        x if b is None else b.contiguous(),
        y,
        w.shape[0] // groups,
        w.shape[1],
        y.shape[1],
        x.shape[2],
        y.shape[2] // align,
        frames,
        first,
        *x.stride(),
        tiles,
        K=g.kernel_size,
        STRIDE=g.stride,
        DILATION=g.dilation,
        PADDING=g.padding_left,
        STEP=phases.step,
        SHIFT=phases.shift,
        MODE=g.padding_mode,
        HAS_BIAS=b is not None,
        ALIGN=align,
        FRAMES=rows,
        PHASES=many,
        UNROLL=min(8, triton.cdiv(g.kernel_size, phases.step)),
        WIDE=_wide(x, w, y),
        num_warps=choice.warps,
    )


def input_grad_densely(
    gy: Tensor,
    w: Tensor,
    edges: Tensor | None,
    to: Tensor,
    length: int,
    g: Geometry,
    groups: int,
    tile: Tile,
    of_edges: bool = False,
) -> None:
    """``C``, with ``edges`` added, or of these alone: ``(part, B, C_in, frames)``."""
    in_channels, frames = w.shape[0] // groups, to.shape[-1]
    row_tiles = triton.cdiv(in_channels, tile.rows)
    flat = edges is None and _flat(gy.shape[0], frames, tile.columns)
    column_tiles = _column_tiles(gy.shape[0], frames, tile.columns, flat)
    _launch(
        dense.input_grad,
        row_tiles * column_tiles * groups * tile.parts,
        gy,
        w,
        gy if edges is None else edges,
        to,
        in_channels,
        w.shape[1],
        groups,
        gy.shape[0],
        length,
        gy.shape[2],
        frames,
        g.extension_left,
        0 if edges is None else edges.shape[2],
        *gy.stride(),
        row_tiles,
        column_tiles,
        _terms_of_part(tile, w.shape[1] * g.kernel_size),
        FLAT=flat,
        EVEN=w.shape[1] * g.kernel_size % tile.terms == 0,
        **_of_input_grad(g, edges, of_edges),
        **_of_tile(tile, gy, _wide(gy, w, to, gy if edges is None else edges)),
    )


def input_grad_directly(
    gy: Tensor,
    w: Tensor,
    edges: Tensor | None,
    to: Tensor,
    length: int,
    g: Geometry,
    groups: int,
    choice: Direct,
    of_edges: bool = False,
) -> None:
    """``C`` by :mod:`direct`."""
    frames, step = to.shape[2], Phases.of(g).step
    many = triton.next_power_of_2(min(step, g.kernel_size))
    rows = _frames_of(choice, many, frames)
    tiles = triton.cdiv(frames, rows)
    _launch(
        direct.input_grad,
        to.shape[0] * to.shape[1] * tiles,
        gy,
        w,
        gy if edges is None else edges,
        to,
        w.shape[0] // groups,
        w.shape[1],
        to.shape[1],
        length,
        gy.shape[2],
        frames,
        g.extension_left,
        0 if edges is None else edges.shape[2],
        *gy.stride(),
        tiles,
        STEP=step,
        FRAMES=rows,
        PHASES=many,
        UNROLL=min(8, triton.cdiv(g.kernel_size, step)),
        WIDE=_wide(gy, w, to, gy if edges is None else edges),
        num_warps=choice.warps,
        **_of_input_grad(g, edges, of_edges),
    )


def _of_input_grad(g: Geometry, edges: Tensor | None, of_edges: bool) -> dict[str, Any]:
    """What both kernels of ``C`` are told."""
    return dict(
        K=g.kernel_size,
        STRIDE=g.stride,
        DILATION=g.dilation,
        PADDING=g.padding_left,
        MODE="zeros" if edges is None else g.padding_mode,
        OF_EDGES=of_edges,
    )


def weight_grad_densely(
    x: Tensor,
    gy: Tensor,
    to: Tensor,
    g: Geometry,
    groups: int,
    tile: Tile,
    terms: int,
) -> None:
    """``R``, a sum of so many terms: ``(part, C_in, C_out/g, k)``."""
    in_channels, out_channels = x.shape[1] // groups, gy.shape[1] // groups
    first, frames = summed(g, x.shape[2], gy.shape[2])
    row_tiles = triton.cdiv(in_channels, tile.rows)
    column_tiles = triton.cdiv(out_channels * g.kernel_size, tile.columns)
    _launch(
        dense.weight_grad,
        row_tiles * column_tiles * groups * tile.parts,
        x,
        gy,
        to,
        in_channels,
        out_channels,
        groups,
        terms,
        x.shape[2],
        gy.shape[2],
        frames,
        first,
        *x.stride(),
        *gy.stride(),
        row_tiles,
        column_tiles,
        _terms_of_part(tile, terms),
        K=g.kernel_size,
        STRIDE=g.stride,
        DILATION=g.dilation,
        PADDING=g.padding_left,
        MODE=g.padding_mode,
        **_of_tile(tile, x, _wide(x, gy, to)),
    )


def weight_grad_directly(
    x: Tensor,
    gy: Tensor,
    to: Tensor,
    g: Geometry,
    groups: int,
    tile: Tile,
    terms: int,
) -> None:
    """``R`` by :mod:`direct`: columns of the tile are taps."""
    out_channels = gy.shape[1] // groups
    first, frames = summed(g, x.shape[2], gy.shape[2])
    tap_tiles = triton.cdiv(g.kernel_size, tile.columns)
    _launch(
        direct.weight_grad,
        tap_tiles * x.shape[1] * out_channels * tile.parts,
        x,
        gy,
        to,
        x.shape[1] // groups,
        out_channels,
        x.shape[1],
        terms,
        x.shape[2],
        gy.shape[2],
        frames,
        first,
        *x.stride(),
        *gy.stride(),
        tap_tiles,
        _terms_of_part(tile, terms),
        K=g.kernel_size,
        STRIDE=g.stride,
        DILATION=g.dilation,
        PADDING=g.padding_left,
        MODE=g.padding_mode,
        TERMS=tile.terms,
        TAPS=tile.columns,
        WIDE=_wide(x, gy, to),
        num_warps=tile.warps,
    )


def sum_parts(parts: Tensor, whole: Tensor) -> None:
    """The sum over the first axis, in order."""
    count = whole.numel()
    wide = parts.numel() >= 2**30
    programs = triton.cdiv(count, 512)
    _launch(dense.sum_parts, programs, parts, whole, count, parts.shape[0], ELEMENTS=512, WIDE=wide)


def tf32_allowed() -> bool:
    """Torch's own setting for convolutions."""
    conv = getattr(torch.backends.cudnn, "conv", None)
    if conv is not None and hasattr(conv, "fp32_precision"):
        return bool(conv.fp32_precision == "tf32")
    return bool(torch.backends.cudnn.allow_tf32)


def kind_of(dtype: torch.dtype) -> str:
    """What multiplies: ``half``, ``tf32``, ``float32`` or ``float64``."""
    if dtype == torch.float64:
        return "float64"
    if dtype == torch.float32:
        return "tf32" if tf32_allowed() else "float32"
    return "half"


def _launch(kernel: Any, programs: int, *operands: Any, **constants: Any) -> None:
    launches = recorder()
    if launches is not None:
        launches.append(Launch(kernel, programs, operands, constants))
        return
    if capturing():  # the compiler takes kernels into its graph
        kernel = torch.library.wrap_triton(kernel)
    kernel[(programs,)](*operands, **constants)


def _terms_of_part(tile: Tile, terms: int) -> int:
    return -(-terms // (tile.parts * tile.terms)) * tile.terms


def _of_tile(tile: Tile, operand: Tensor, wide: bool) -> dict[str, Any]:
    """What all kernels of :mod:`dense` are told of a tile."""
    interpreted = not isinstance(dense.forward, triton.JITFunction)
    return dict(
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        TERMS=tile.terms,
        PRECISION="tf32" if kind_of(operand.dtype) == "tf32" else "ieee",
        WIDEN=interpreted and operand.dtype == torch.bfloat16,
        WIDE=wide,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )


def _wide(*tensors: Tensor) -> bool:
    """Whether some place in one of them, or next to one, may be beyond 32 bits."""
    return any(_extent(tensor) >= 2**30 for tensor in tensors)


def _extent(tensor: Tensor) -> int:
    if tensor.is_contiguous():  # at a third of the cost
        return tensor.numel()
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return sum((n - 1) * step for n, step in steps)


def _flat(batch: int, frames: int, columns: int) -> bool:
    """Whether tiles go on across the batch: where they would be emptier by a quarter."""
    frames = typical(frames)
    return batch > 1 and 4 * triton.cdiv(frames, columns) * columns > 5 * frames


def _column_tiles(batch: int, frames: int, columns: int, flat: bool) -> int:
    return -(-batch * frames // columns) if flat else -(-frames // columns) * batch


def _frames_of(choice: Direct, phases: int, frames: int) -> int:
    """Frames of a program of :mod:`direct`."""
    most = max(1, choice.elements // phases)
    return min(most, max(16, int(triton.next_power_of_2(typical(frames)))))


def _alignment(g: Geometry, length: int) -> int:
    """A power of two, up to 16, that divides an output length: one of two for all lengths."""
    if isinstance(length, int) and length % 16 == 0:
        return 16
    return gcd(g.stride, g.overhang, 16)
