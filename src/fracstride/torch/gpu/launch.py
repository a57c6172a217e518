"""Calls of the kernels: which tensor, size and constant is which argument.

Operands go by position, constants by name.
"""

from __future__ import annotations

from math import gcd
from typing import Any

import torch
import triton
from torch import Tensor

from fracstride.geometry import Geometry
from fracstride.torch.gpu import direct
from fracstride.torch.gpu.capture import Launch, capturing, recorder, typical
from fracstride.torch.gpu.dense_forward import dense_forward
from fracstride.torch.gpu.dense_input_grad import dense_input_grad
from fracstride.torch.gpu.dense_weight_grad import dense_weight_grad
from fracstride.torch.gpu.shapes import Phases, reached, summed
from fracstride.torch.gpu.split_sum import sum_parts as sum_parts_kernel
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
    """T on the tensor cores, of samples that some tap reaches: ``(part, B, C_out, L_out)``."""
    batch, in_channels, out_channels = x.shape[0], w.shape[0] // groups, w.shape[1]
    phases, (first, frames) = Phases.of(g), reached(g, y.shape[-1])
    row_tiles = [triton.cdiv(out_channels * many, tile.rows) for _, many, _ in phases.classes]
    flat = _is_flat(batch, frames, tile.columns)
    column_tiles = _column_tiles(batch, frames, tile.columns, flat)
    align = _alignment(g, y.shape[-1])
    terms = [in_channels * taps for *_, taps in phases.classes]
    _launch(
        dense_forward,
        sum(row_tiles) * column_tiles * groups * tile.parts,
        *(x, w, None if b is None else b.contiguous(), y),
        *(in_channels, out_channels, groups, batch),
        *(x.shape[2], y.shape[-1] // align, frames, first),
        *x.stride(),
        *(sum(row_tiles), row_tiles[0], column_tiles, _terms_of_part(tile, terms[0])),
        STEP=phases.step,
        SHIFT=phases.shift,
        MODE=g.padding_mode,
        ALIGN=align,
        FLAT=flat,
        EVEN=all(count % tile.terms == 0 for count in terms),
        WIDE=_needs_64_bits(x, w, y),
        **_layer(g),
        **_tile(tile, x.dtype),
    )


def forward_directly(
    x: Tensor, w: Tensor, b: Tensor | None, y: Tensor, g: Geometry, groups: int, choice: Direct
) -> None:
    """T without tensor cores, of samples that some tap reaches."""
    phases, (first, frames) = Phases.of(g), reached(g, y.shape[2])
    block = _block(choice, g, frames)
    tiles = triton.cdiv(frames, block["FRAMES"])
    align = _alignment(g, y.shape[2])
    _launch(
        direct.direct_forward,
        y.shape[0] * y.shape[1] * tiles,
        *(x, w, None if b is None else b.contiguous(), y),
        *(w.shape[0] // groups, w.shape[1], y.shape[1]),
        *(x.shape[2], y.shape[2] // align, frames, first),
        *x.stride(),
        tiles,
        SHIFT=phases.shift,
        MODE=g.padding_mode,
        ALIGN=align,
        WIDE=_needs_64_bits(x, w, y),
        **_layer(g),
        **block,
    )


def input_grad_densely(
    gy: Tensor, w: Tensor, gx: Tensor, g: Geometry, groups: int, tile: Tile
) -> None:
    """C on the tensor cores: ``(part, B, C_in, L)``."""
    batch, in_channels, out_channels = gy.shape[0], w.shape[0] // groups, w.shape[1]
    length, extension = gx.shape[-1], _extension(g)
    row_tiles = triton.cdiv(in_channels, tile.rows)
    # Frames of a tile that copies are added to are those of one entry of the batch.
    flat = extension["EXTENDED"] == 0 and _is_flat(batch, length, tile.columns)
    column_tiles = _column_tiles(batch, length, tile.columns, flat)
    terms = out_channels * g.kernel_size
    _launch(
        dense_input_grad,
        row_tiles * column_tiles * groups * tile.parts,
        *(gy, w, gx),
        *(in_channels, out_channels, groups, batch),
        *(length, gy.shape[2]),
        *gy.stride(),
        *(row_tiles, column_tiles, _terms_of_part(tile, terms)),
        FLAT=flat,
        EVEN=terms % tile.terms == 0,
        STAGES=tile.stages,
        WIDE=_needs_64_bits(gy, w, gx),
        **_layer(g),
        **extension,
        **_tile(tile, gy.dtype),
    )


def input_grad_directly(
    gy: Tensor, w: Tensor, gx: Tensor, g: Geometry, groups: int, choice: Direct
) -> None:
    """C without tensor cores."""
    block = _block(choice, g, gx.shape[2])
    tiles = triton.cdiv(gx.shape[2], block["FRAMES"])
    _launch(
        direct.direct_input_grad,
        gx.shape[0] * gx.shape[1] * tiles,
        *(gy, w, gx),
        *(w.shape[0] // groups, w.shape[1], gx.shape[1]),
        *(gx.shape[2], gy.shape[2]),
        *gy.stride(),
        tiles,
        WIDE=_needs_64_bits(gy, w, gx),
        **_layer(g),
        **_extension(g),
        **block,
    )


def weight_grad_densely(
    x: Tensor, gy: Tensor, gw: Tensor, g: Geometry, groups: int, tile: Tile, terms: int
) -> None:
    """R on the tensor cores, a sum of so many terms: ``(part, C_in, C_out/g, k)``."""
    in_channels, out_channels = x.shape[1] // groups, gy.shape[1] // groups
    first, frames = summed(g, x.shape[2], gy.shape[2])
    row_tiles = triton.cdiv(in_channels, tile.rows)
    column_tiles = triton.cdiv(out_channels * g.kernel_size, tile.columns)
    _launch(
        dense_weight_grad,
        row_tiles * column_tiles * groups * tile.parts,
        *(x, gy, gw),
        *(in_channels, out_channels, groups),
        *(terms, x.shape[2], gy.shape[2], frames, first),
        *x.stride(),
        *gy.stride(),
        *(row_tiles, column_tiles, _terms_of_part(tile, terms)),
        MODE=g.padding_mode,
        WIDE=_needs_64_bits(x, gy, gw),
        **_layer(g),
        **_tile(tile, x.dtype),
    )


def weight_grad_directly(
    x: Tensor, gy: Tensor, gw: Tensor, g: Geometry, groups: int, tile: Tile, terms: int
) -> None:
    """R without tensor cores; the columns of the tile are taps."""
    out_channels = gy.shape[1] // groups
    first, frames = summed(g, x.shape[2], gy.shape[2])
    tap_tiles = triton.cdiv(g.kernel_size, tile.columns)
    _launch(
        direct.direct_weight_grad,
        tap_tiles * x.shape[1] * out_channels * tile.parts,
        *(x, gy, gw),
        *(x.shape[1] // groups, out_channels, x.shape[1]),
        *(terms, x.shape[2], gy.shape[2], frames, first),
        *x.stride(),
        *gy.stride(),
        *(tap_tiles, _terms_of_part(tile, terms)),
        MODE=g.padding_mode,
        TERMS=tile.terms,
        TAPS=tile.columns,
        WIDE=_needs_64_bits(x, gy, gw),
        num_warps=tile.warps,
        **_layer(g),
    )


def sum_parts(parts: Tensor, whole: Tensor) -> None:
    """The sum over the first axis, in order."""
    count = whole.numel()
    programs = triton.cdiv(count, 512)
    wide = _needs_64_bits(parts)
    _launch(
        sum_parts_kernel, programs, parts, whole, count, parts.shape[0], ELEMENTS=512, WIDE=wide
    )


def tf32_allowed() -> bool:
    """Whether torch's setting for convolutions allows tf32."""
    conv = getattr(torch.backends.cudnn, "conv", None)
    if conv is not None and hasattr(conv, "fp32_precision"):
        return bool(conv.fp32_precision == "tf32")
    return bool(torch.backends.cudnn.allow_tf32)


def kind_of(dtype: torch.dtype) -> str:
    """What multiplies numbers of a dtype: ``half``, ``tf32``, ``float32`` or ``float64``."""
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


def _layer(g: Geometry) -> dict[str, Any]:
    """Constants that all kernels have of a geometry."""
    return dict(K=g.kernel_size, STRIDE=g.stride, DILATION=g.dilation, PADDING=g.padding_left)


def _extension(g: Geometry) -> dict[str, Any]:
    """Constants that the kernels of C have of the extension; ``zeros``, if there is none."""
    extended = g.extension_left + g.extension_right
    if g.padding_mode == "zeros" or extended == 0:
        return dict(MODE="zeros", LEFT=0, EXTENDED=0, COPIES=16)
    copies = min(32, max(16, triton.next_power_of_2(extended)))
    return dict(MODE=g.padding_mode, LEFT=g.extension_left, EXTENDED=extended, COPIES=copies)


def _tile(tile: Tile, dtype: torch.dtype) -> dict[str, Any]:
    """Constants of the kernels on tensor cores: their tile, and how they multiply."""
    interpreted = not isinstance(dense_forward, triton.JITFunction)
    precision = "tf32" if kind_of(dtype) == "tf32" else "ieee"
    return dict(
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        TERMS=tile.terms,
        PRECISION="widened" if interpreted and dtype == torch.bfloat16 else precision,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )


def _block(choice: Direct, g: Geometry, frames: int) -> dict[str, Any]:
    """Constants of the kernels without tensor cores: the frames and phases of a program."""
    step = Phases.of(g).step
    phases = triton.next_power_of_2(min(step, g.kernel_size))
    most = max(1, choice.elements // phases)
    return dict(
        STEP=step,
        FRAMES=min(most, max(16, int(triton.next_power_of_2(typical(frames))))),
        PHASES=phases,
        UNROLL=min(8, triton.cdiv(g.kernel_size, step)),
        num_warps=choice.warps,
    )


def _terms_of_part(tile: Tile, terms: int) -> int:
    """Terms of each part of a sum, whole trips of the loop."""
    return -(-terms // (tile.parts * tile.terms)) * tile.terms


def _needs_64_bits(*tensors: Tensor) -> bool:
    """Whether some place in one of them, or next to one, may be beyond 32 bits."""
    return any(_extent(tensor) >= 2**30 for tensor in tensors)


def _extent(tensor: Tensor) -> int:
    """Numbers of memory from a tensor's first to its last."""
    if tensor.is_contiguous():  # at a third of the cost
        return tensor.numel()
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return sum((n - 1) * step for n, step in steps)


def _is_flat(batch: int, frames: int, columns: int) -> bool:
    """Whether tiles go on across the batch: where they would be emptier by a quarter."""
    frames = typical(frames)
    return batch > 1 and 4 * triton.cdiv(frames, columns) * columns > 5 * frames


def _column_tiles(batch: int, frames: int, columns: int, flat: bool) -> int:
    return -(-batch * frames // columns) if flat else -(-frames // columns) * batch


def _alignment(g: Geometry, length: int) -> int:
    """A power of two, up to 16, that divides an output length: one of two for all lengths."""
    if isinstance(length, int) and length % 16 == 0:
        return 16
    return gcd(g.stride, g.overhang, 16)
