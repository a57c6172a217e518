from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

compiler: str
version: str

class PackedWeightFloat32:
    @property
    def instruction_set(self) -> str: ...

class PackedWeightFloat64:
    @property
    def instruction_set(self) -> str: ...

class PackedWeightFloat16:
    @property
    def instruction_set(self) -> str: ...

class PackedWeightBFloat16:
    @property
    def instruction_set(self) -> str: ...

PackedWeight = (
    PackedWeightFloat32 | PackedWeightFloat64 | PackedWeightFloat16 | PackedWeightBFloat16
)

def pack_float32(
    weight: Array, groups: int, stride: int, dilation: int, for_input_grad: bool, once: bool, /
) -> PackedWeight: ...
def pack_float64(
    weight: Array, groups: int, stride: int, dilation: int, for_input_grad: bool, once: bool, /
) -> PackedWeight: ...
def pack_float16(
    weight: Array, groups: int, stride: int, dilation: int, for_input_grad: bool, once: bool, /
) -> PackedWeight: ...
def pack_bfloat16(
    weight: Array, groups: int, stride: int, dilation: int, for_input_grad: bool, once: bool, /
) -> PackedWeight: ...
def forward(
    weight: PackedWeight,
    input: Array,
    bias: Array | None,
    output: Array,
    padding_left: int,
    extension: int,
    residual: Array | None,
    negative_slope: float,
    carried: Array | None = None,
    residual_carried: Array | None = None,
    /,
) -> None: ...
def input_grad(
    weight: PackedWeight,
    grad_output: Array,
    grad_input: Array,
    padding_left: int,
    first_frame: int,
    /,
) -> None: ...
def weight_grad_float32(
    input: Array,
    grad_output: Array,
    grad_weight: Array,
    groups: int,
    stride: int,
    dilation: int,
    padding_left: int,
    extension: int,
    /,
) -> None: ...
def weight_grad_float64(
    input: Array,
    grad_output: Array,
    grad_weight: Array,
    groups: int,
    stride: int,
    dilation: int,
    padding_left: int,
    extension: int,
    /,
) -> None: ...
def weight_grad_float16(
    input: Array,
    grad_output: Array,
    grad_weight: Array,
    groups: int,
    stride: int,
    dilation: int,
    padding_left: int,
    extension: int,
    /,
) -> None: ...
def weight_grad_bfloat16(
    input: Array,
    grad_output: Array,
    grad_weight: Array,
    groups: int,
    stride: int,
    dilation: int,
    padding_left: int,
    extension: int,
    /,
) -> None: ...
def pack_float32_at(
    weight: int,
    in_channels: int,
    out_per_group: int,
    kernel: int,
    groups: int,
    stride: int,
    dilation: int,
    for_input_grad: bool,
    once: bool,
    /,
) -> PackedWeight: ...
def pack_float64_at(
    weight: int,
    in_channels: int,
    out_per_group: int,
    kernel: int,
    groups: int,
    stride: int,
    dilation: int,
    for_input_grad: bool,
    once: bool,
    /,
) -> PackedWeight: ...
def pack_float16_at(
    weight: int,
    in_channels: int,
    out_per_group: int,
    kernel: int,
    groups: int,
    stride: int,
    dilation: int,
    for_input_grad: bool,
    once: bool,
    /,
) -> PackedWeight: ...
def pack_bfloat16_at(
    weight: int,
    in_channels: int,
    out_per_group: int,
    kernel: int,
    groups: int,
    stride: int,
    dilation: int,
    for_input_grad: bool,
    once: bool,
    /,
) -> PackedWeight: ...

# By address: a signal is its address, its strides of batch, channel and position in elements, and
# its length where no other argument has it. An address of 0 stands for an array that is absent.

# weight, batch, input (5), bias, output (5), padding_left, extension (a padding mode's
# number); then, if wanted, residual (4), negative_slope, carried (5), residual_carried (5).
def forward_at(weight: PackedWeight, /, *numbers: float) -> None: ...

# weight, batch, grad_output (5), grad_input (5), padding_left, extension, edges; then, if wanted,
# the extension of grad_output itself. `edges` is [start0, stop0, start1, stop1, ...], the frames
# outside the input that reach some sample: rising, disjoint, empty for zeros.
def input_grad_folded_at(weight: PackedWeight, /, *arguments: int | Sequence[int]) -> None: ...
def input_grad_at(weight: PackedWeight, /, *integers: int) -> None: ...
def weight_grad_float32_at(*integers: int) -> None: ...
def weight_grad_float64_at(*integers: int) -> None: ...
def weight_grad_float16_at(*integers: int) -> None: ...
def weight_grad_bfloat16_at(*integers: int) -> None: ...
def bias_grad_float32_at(*integers: int) -> None: ...
def bias_grad_float64_at(*integers: int) -> None: ...
def bias_grad_float16_at(*integers: int) -> None: ...
def bias_grad_bfloat16_at(*integers: int) -> None: ...
def same_bytes_at(a: int, b: int, count: int, /) -> bool: ...
def multiply_adds(rounds: int, /) -> int: ...
def read_floats_at(values: int, count: int, /) -> bool: ...
def copy_bytes_at(source: int, target: int, count: int, times: int, /) -> None: ...
def padding_modes() -> list[str]: ...
def built_instruction_sets() -> list[str]: ...
def available_instruction_sets() -> list[str]: ...
def instruction_set() -> str: ...
def use_instruction_set(name: str, /) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(count: int, /) -> None: ...
def has_openmp() -> bool: ...
