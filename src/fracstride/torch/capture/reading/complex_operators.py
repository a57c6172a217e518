"""What operators of torch do to the real and the imaginary parts of complex tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from fracstride.network.recording import Call, Constant, Recording, Reference, Size
from fracstride.torch.capture.reading.axes import REARRANGING
from fracstride.torch.capture.reading.complex_calls import Part, Splitting
from fracstride.torch.capture.reading.complex_spectra import SPECTRA

__all__ = ["without_complex"]


def without_complex(recording: Recording) -> Recording:
    """The recording with the parts of complex tensors in their place, as far as that goes."""
    return Splitting(recording).finished(_read)


def _read(write: Splitting, call: Call) -> bool:
    namespace, name, _ = call.operator.split(".")
    if namespace != "aten":
        return False
    if name in _OPERATORS:
        return _OPERATORS[name](write, call)
    return name in _OF_EACH and _of_each(write, call, name)


# --- makers ---------------------------------------------------------------------------------------


def _complex(write: Splitting, call: Call) -> bool:
    return write.give(call, (call.arguments["real"], call.arguments["imag"]))


def _polar(write: Splitting, call: Call) -> bool:
    return _give_polar(write, call, call.arguments["abs"], call.arguments["angle"])


def _give_polar(write: Splitting, call: Call, size: Part, angle: Part) -> bool:
    shape = write.shape_of(call)
    real, imaginary = (
        write.multiply(size, write.unary(wave, angle), shape) for wave in ("cos", "sin")
    )
    return write.give(call, (real, imaginary))


def _view_as_complex(write: Splitting, call: Call) -> bool:
    given, shape = call.arguments["self"], write.shape_of(call)
    real, imaginary = (
        write.call("aten.select.int", shape, self=given, dim=len(shape), index=place)
        for place in (0, 1)
    )
    return write.give(call, (real, imaginary))


def _to(write: Splitting, call: Call) -> bool:
    """From real to complex numbers, or a copy."""
    given = call.arguments["self"]
    return write.is_complex(Reference(call.results[0])) and write.give(call, write.parts(given))


# --- parts ----------------------------------------------------------------------------------------


def _real(write: Splitting, call: Call) -> bool:
    return write.give_real(call, write.parts(call.arguments["self"])[0])


def _imag(write: Splitting, call: Call) -> bool:
    return write.give_real(call, write.parts(call.arguments["self"])[1])


def _view_as_real(write: Splitting, call: Call) -> bool:
    given, shape = call.arguments["self"], write.shape_of(call)
    parts = [write.filled(part, given) for part in write.parts(given)]
    return write.give_real(call, write.call("aten.stack.default", shape, tensors=parts, dim=-1))


def _absolute(write: Splitting, call: Call) -> bool:
    shape, parts = write.shape_of(call), write.parts(call.arguments["self"])
    real, imaginary = (write.multiply(part, part, shape) for part in parts)
    return write.give_real(call, write.unary("sqrt", write.add(real, imaginary, shape)))


def _angle(write: Splitting, call: Call) -> bool:
    shape, (real, imaginary) = write.shape_of(call), write.parts(call.arguments["self"])
    if not isinstance(real, Reference) or not isinstance(imaginary, Reference):
        return False
    return write.give_real(
        call, write.call("aten.atan2.default", shape, self=imaginary, other=real)
    )


# --- elementwise ----------------------------------------------------------------------------------


def _sum(sign: int) -> Callable[[Splitting, Call], bool]:
    def read(write: Splitting, call: Call) -> bool:
        given, shape = call.arguments, write.shape_of(call)
        a, b = (write.parts(_number(given[name])) for name in ("self", "other"))
        alpha = sign * float(given.get("alpha", 1))
        if alpha == -1:
            b = (write.negative(b[0]), write.negative(b[1]))
        else:
            own = write.shape(given["other"])
            b = (write.multiply(b[0], alpha, own), write.multiply(b[1], alpha, own))
        real, imaginary = (write.add(*each, shape) for each in zip(a, b, strict=True))
        return write.give(call, (real, imaginary))

    return read


def _reversed_subtract(write: Splitting, call: Call) -> bool:
    given = call.arguments
    swapped = {**given, "self": given["other"], "other": given["self"]}
    return _sum(-1)(write, replace(call, arguments=swapped))


def _multiply(write: Splitting, call: Call) -> bool:
    given, shape = call.arguments, write.shape_of(call)
    (a, b), (c, d) = (write.parts(_number(given[name])) for name in ("self", "other"))
    return write.give(call, _product(write, (a, b), (c, d), shape))


def _product(
    write: Splitting, one: tuple[Part, Part], other: tuple[Part, Part], shape: Sequence[Size]
) -> tuple[Part, Part]:
    (a, b), (c, d) = one, other

    def times(x: Part, y: Part) -> Part:
        return write.multiply(x, y, shape)

    bd = times(b, d)
    if not isinstance(bd, float) and not isinstance(ac := times(a, c), float):
        real: Part = write.call("aten.sub.Tensor", shape, self=ac, other=bd)
    else:
        real = write.add(times(a, c), write.negative(bd), shape)
    return real, write.add(times(a, d), times(b, c), shape)


def _divide(write: Splitting, call: Call) -> bool:
    given, shape = call.arguments, write.shape_of(call)
    if given.get("rounding_mode") is not None:
        return False
    one, (c, d) = (write.parts(_number(given[name])) for name in ("self", "other"))
    if d == 0.0:
        real, imaginary = (write.divide(part, c, shape) for part in one)
        return write.give(call, (real, imaginary))
    own = write.shape(given["other"])
    size = write.add(write.multiply(c, c, own), write.multiply(d, d, own), own)
    turned = _product(write, one, (c, write.negative(d)), shape)
    return write.give(
        call, (write.divide(turned[0], size, shape), write.divide(turned[1], size, shape))
    )


def _negative(write: Splitting, call: Call) -> bool:
    real, imaginary = map(write.negative, write.parts(call.arguments["self"]))
    return write.give(call, (real, imaginary))


def _conjugate(write: Splitting, call: Call) -> bool:
    real, imaginary = write.parts(call.arguments["self"])
    return write.give(call, (real, write.negative(imaginary)))


def _exp(write: Splitting, call: Call) -> bool:
    real, imaginary = write.parts(call.arguments["self"])
    return _give_polar(write, call, write.unary("exp", real), imaginary)


def _number(given: Any) -> Any:
    return float(given) if isinstance(given, (bool, int)) else given


# --- axes -----------------------------------------------------------------------------------------

_OF_EACH = frozenset(REARRANGING) - {"to", "_to_copy", "type_as"} | {"resolve_conj", "resolve_neg"}


def _of_each(write: Splitting, call: Call, name: str) -> bool:
    """The same call of each part."""
    results: list[list[Part]] = []
    shapes = [write.shape_of(call, place) for place in range(len(call.results))]
    for place in (0, 1):
        parts: list[Part] = []

        def part_of(given: Any, place: int = place, parts: list[Part] = parts) -> Any:
            if isinstance(given, (list, tuple)):
                return [part_of(each) for each in given]
            if isinstance(given, (Reference, Constant)):
                parts.append(write.parts(given)[place])
                return write.filled(parts[-1], given)
            return given

        arguments = {key: part_of(given) for key, given in call.arguments.items()}
        if all(part == 0.0 for part in parts) and (place or not arguments.get("value")):
            results.append([0.0] * len(shapes))
            continue
        if place and "value" in arguments:
            arguments["value"] = 0.0 if arguments["value"] is not None else None
        if name.startswith("resolve"):
            results.append(list(parts))
            continue
        results.append(list(write.calls(call.operator, shapes, **arguments)))
    for result, (real, imaginary) in enumerate(zip(*results, strict=True)):
        write.give(call, (real, imaginary), result)
    return True


_OPERATORS: dict[str, Callable[[Splitting, Call], bool]] = {
    "complex": _complex,
    "polar": _polar,
    "view_as_complex": _view_as_complex,
    **dict.fromkeys(("to", "_to_copy"), _to),
    "real": _real,
    "imag": _imag,
    "view_as_real": _view_as_real,
    **dict.fromkeys(("abs", "absolute"), _absolute),
    "angle": _angle,
    "add": _sum(1),
    **dict.fromkeys(("sub", "subtract"), _sum(-1)),
    "rsub": _reversed_subtract,
    **dict.fromkeys(("mul", "multiply"), _multiply),
    **dict.fromkeys(("div", "divide", "true_divide"), _divide),
    **dict.fromkeys(("neg", "negative"), _negative),
    **dict.fromkeys(("_conj", "conj", "conj_physical"), _conjugate),
    "exp": _exp,
    **SPECTRA,
}
