"""From a recording of ONNX operators to the graph of a network.

Most operators belong to the file of the operation that they are (its ``from_onnx``). Those that
only rearrange axes are in ``rearranging.py`` here.
"""

from __future__ import annotations

from fracstride.network.codes import is_code_dtype
from fracstride.network.operations import OPERATIONS
from fracstride.network.reading import Unreadable
from fracstride.network.reading.lowering import Lowered, Lowering
from fracstride.network.reading.recorded import RecordedReader
from fracstride.network.recording import Call, Constant, Recording, Reference
from fracstride.onnx.rearranging import REARRANGING

__all__ = ["lower"]

_READERS = {name: kind for kind in OPERATIONS if not kind.takes_codes for name in kind.onnx}
_READERS_OF_CODES = {name: kind for kind in OPERATIONS if kind.takes_codes for name in kind.onnx}


def lower(recording: Recording) -> tuple[Lowered, Lowering]:
    """Read a recording: the graph, and what each tensor of the recording is in it.

    Raises:
        ValueError: something in it cannot be represented; the node is named.
    """
    lowering = Lowering(recording)
    for call in recording.calls:
        try:
            _read(lowering, call)
        except ValueError as error:
            text = str(error).removeprefix(f"{call.path}: ")
            operator = call.operator.removeprefix("onnx.")
            raise ValueError(f"the node {call.path!r} ({operator}): {text}") from None
    for number, output in enumerate(recording.outputs):
        if not isinstance(output, Reference):
            raise ValueError(f"output {number} does not depend on the inputs")
        dtype = recording.tensors[output.index].dtype
        if dtype != lowering.dtype and not is_code_dtype(dtype):
            raise ValueError(f"output {number} has the dtype {dtype}: {lowering.dtype} can be read")
    return lowering.finished(), lowering


def _read(lowering: Lowering, call: Call) -> None:
    name = call.operator.removeprefix("onnx.")
    of_codes = lowering.reads_codes(call)
    readers = _READERS_OF_CODES if of_codes else _READERS
    looks_up = name == "Gather" and isinstance(call.arguments["data"], Constant)
    if name in REARRANGING and not looks_up:
        REARRANGING[name](lowering, call)
    elif name in readers:
        readers[name].from_onnx(RecordedReader(lowering, call, name))
    else:
        what = " of codes" if of_codes else ""
        raise Unreadable(f"the library has no such operation{what}")
