"""What a kernel needs of a GPU, found by compiling it, on a machine that need not have one.

The compiler tells whether registers spill, whether products go to the tensor cores, whether loads
are asynchronous and how wide stores are.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fracstride.torch.gpu.capture import Launch

__all__ = ["Compiled", "compile_for"]

_POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
}
_INSTRUCTIONS = {
    "wgmma": r"wgmma\.mma_async",
    "mma": r"mma\.sync",
    "tcgen05": r"tcgen05\.mma",
    "async loads": r"cp\.async\.c[ag]",
    "wide async loads": r"cp\.async\.c[ag]\S* \[[^\]]*\], \[[^\]]*\], 0x10",
    "loads": r"ld\.global\S*\.b\d+ ",
    "wide stores": r"st\.global\S*\.v\d",
    "stores": r"st\.global",
}


@dataclass(frozen=True)
class Compiled:
    """A kernel's registers and spilt bytes of a thread, bytes of shared memory, instructions."""

    name: str
    registers: int
    spilt: int
    shared: int
    instructions: dict[str, int]


def compile_for(launch: Launch, capability: int) -> Compiled:
    """Compile a recorded call for a compute capability (90 is Hopper's 9.0).

    Raises ``TypeError`` under Triton's interpreter, which has nothing to compile.
    """
    if not isinstance(launch.kernel, triton.JITFunction):
        raise TypeError("kernels must be compiled, not interpreted: TRITON_INTERPRET must be unset")
    names = [parameter.name for parameter in launch.kernel.params]
    types: dict[str, str] = {}
    constants: dict[tuple[int], Any] = {}
    attributes: dict[tuple[int], Any] = {}
    for i, (parameter, value) in enumerate(
        zip(launch.kernel.params, launch.operands, strict=False)
    ):
        aligned = not parameter.do_not_specialize
        if isinstance(value, torch.Tensor):
            types[parameter.name] = _POINTERS[value.dtype]
        elif value is None or (value == 1 and aligned):
            types[parameter.name] = "constexpr"
            constants[(i,)] = value
            continue
        else:
            types[parameter.name] = "i32"
            aligned = aligned and value % 16 == 0
        if aligned:
            attributes[(i,)] = [["tt.divisibility", 16]]
    options = {k: v for k, v in launch.constants.items() if k in ("num_warps", "num_stages")}
    for name, value in launch.constants.items():
        if name not in options:
            types[name] = "constexpr"
            constants[(names.index(name),)] = value
    source = ASTSource(launch.kernel, types, constants, attributes)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    ptx = made.asm["ptx"]
    registers, spilt = _resources(made.asm["cubin"])
    counts = {kind: len(re.findall(pattern, ptx)) for kind, pattern in _INSTRUCTIONS.items()}
    return Compiled(launch.kernel.fn.__name__, registers, spilt, made.metadata.shared, counts)


def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers of a thread, and bytes of its stack, where spilt registers go."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"REG:(\d+) STACK:(\d+)", done.stdout + done.stderr)
    if found is None:
        raise RuntimeError(f"cuobjdump names no registers: {done.stdout}{done.stderr}")
    return int(found[1]), int(found[2])
