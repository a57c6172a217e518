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
def forward_at(weight: PackedWeight, /, *integers: int) -> None: ...
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
def built_instruction_sets() -> list[str]: ...
def available_instruction_sets() -> list[str]: ...
def instruction_set() -> str: ...
def use_instruction_set(name: str, /) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(count: int, /) -> None: ...
def has_openmp() -> bool: ...
