"""From a recording of torch's operators to the graph of a network.

Most operators belong to the file of the operation that they are (its ``from_torch``). Those that
only rearrange axes are in ``axes.py`` here. What neither reads runs in torch inside the network
(``foreign_calls.py``).
"""

from __future__ import annotations

from fracstride.network.operations import OPERATIONS
from fracstride.network.reading import Unreadable
from fracstride.network.reading.lowering import Lowered, Lowering
from fracstride.network.reading.recorded import RecordedReader
from fracstride.network.recording import Call, Recording
from fracstride.torch.capture.own_layers import OWN
from fracstride.torch.capture.reading.axes import REARRANGING
from fracstride.torch.capture.reading.complex_operators import without_complex
from fracstride.torch.capture.reading.foreign_calls import add_foreign_call

__all__ = ["lower"]

_READERS = {name: kind for kind in OPERATIONS if not kind.takes_codes for name in kind.torch}
_READERS_OF_CODES = {name: kind for kind in OPERATIONS if kind.takes_codes for name in kind.torch}


def lower(recording: Recording) -> Lowered:
    """Read a recording.

    Raises:
        ValueError: something in it cannot be represented; path and operator are named.
    """
    recording = without_complex(recording)
    lowering = Lowering(recording)
    for call in recording.calls:
        try:
            _read(lowering, call)
        except ValueError as error:
            where = f"{call.path or 'the module'} ({call.operator})"
            text = str(error).removeprefix(f"{call.path}: ")
            raise ValueError(f"{where}: {text}") from None
    return lowering.finished()


def _read(lowering: Lowering, call: Call) -> None:
    namespace, name, _ = call.operator.split(".")
    try:
        if f"{namespace}.{name}" in OWN:
            OWN[f"{namespace}.{name}"](RecordedReader(lowering, call, name))
        elif namespace != "aten":
            raise Unreadable("the library has no such operation")
        elif name in REARRANGING:
            REARRANGING[name](lowering, call)
        elif name in _READERS and not lowering.gives_codes(call):
            with lowering.codes_as_floats(call):
                _READERS[name].from_torch(RecordedReader(lowering, call, name))
        elif name in _READERS_OF_CODES and lowering.reads_codes(call):
            _READERS_OF_CODES[name].from_torch(RecordedReader(lowering, call, name))
        else:
            raise Unreadable("the library has no such operation")
    except Unreadable as why:
        add_foreign_call(lowering, call, str(why))
