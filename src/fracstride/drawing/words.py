"""What the picture of a layer says: its heading, its equation, its notes, and itself in words."""

from __future__ import annotations

from collections.abc import Iterable

from fracstride.drawing.diagram import Diagram, Term
from fracstride.geometry import Geometry

__all__ = [
    "description",
    "equation",
    "has_phases",
    "heading",
    "notes",
    "phase_lines",
    "term_title",
]

_SUMS = 16  # that the description spells out
_PHASES = 8  # that a picture lists


def heading(diagram: Diagram) -> str:
    """The layer, as its class is called.

    >>> heading(Diagram(Geometry(4, stride=2, padding=1), 3))
    'ConvTranspose1d: kernel_size=4, stride=2, padding=(1, 1)'
    """
    g = diagram.geometry
    output_padding = g.output_padding if isinstance(g, Geometry) else 0
    shown = [f"kernel_size={g.kernel_size}", f"stride={g.stride}"]
    shown += [f"padding={g.padding!r}"] if g.padding != (0, 0) else []
    shown += [f"output_padding={output_padding}"] if output_padding else []
    shown += [f"dilation={g.dilation}"] if g.dilation != 1 else []
    shown += [f"padding_mode={g.padding_mode!r}"] if g.padding_mode != "zeros" else []
    name = "ConvTranspose1d" if isinstance(g, Geometry) else "Conv1d"
    return f"{name}: {', '.join(shown)}"


def equation(diagram: Diagram) -> str:
    """The sizes, and where each tap lands.

    >>> equation(Diagram(Geometry(4, stride=2, padding=1), 3))
    '3 frames make 6 samples: tap m of frame t lands on sample 2*t + m - 1'
    """
    g = diagram.geometry
    sum_of = [_times(g.stride, "t"), _times(g.dilation, "m")]
    place = " + ".join(sum_of) + (f" - {g.padding_left}" if g.padding_left else "")
    sizes = f"{_count(diagram.L, 'frame')} make {_count(diagram.L_out, 'sample')}"
    if diagram.L == 1:
        sizes = sizes.replace("make", "makes")
    if isinstance(g, Geometry):
        return f"{sizes}: tap m of frame t lands on sample {place}"
    return f"{sizes}: tap m of sample t reads frame {place}"


def phase_lines(diagram: Diagram) -> list[str]:
    """The phases of a layer that has several: their taps.

    >>> phase_lines(Diagram(Geometry(3, stride=2), 3))
    ['phase 0: w0 w2', 'phase 1: w1']
    """
    if not has_phases(diagram):
        return []
    phases = diagram.phases(_PHASES + 1)
    lines = []
    for phase in phases[:_PHASES]:
        taps = [f"w{tap}" for tap in phase.taps[:6]]
        more = [f"... w{phase.taps[-1]}"] if len(phase.taps) > 6 else []
        lines.append(f"phase {phase.first}: {' '.join(taps + more)}")
    return lines + ["..."] * (len(phases) > _PHASES)


def has_phases(diagram: Diagram) -> bool:
    """Whether some taps land on other columns than others do."""
    return len(diagram.phases(2)) > 1


def notes(diagram: Diagram) -> list[str]:
    """What is cropped, what extends the input, what no tap reaches, what is left out: sentences."""
    return [*_crop(diagram), *_extension(diagram), *_empty(diagram), *_excerpt(diagram)]


def _crop(diagram: Diagram) -> list[str]:
    left, right = diagram.cropped
    sides = [f"{_count(left, 'position')} on the left"] if left else []
    sides += [f"{_count(right, 'position')} on the right"] if right else []
    return [f"The padding crops {' and '.join(sides)} (\N{MULTIPLICATION SIGN})."] if sides else []


def _extension(diagram: Diagram) -> list[str]:
    g = diagram.geometry
    if not isinstance(g, Geometry):
        added = g.padding_left + g.padding_right
        if not added:
            return []
        holds = "zeros, absent from the sums" if g.padding_mode == "zeros" else _copies(diagram)
        return [f"The padding adds {_count(added, 'frame')}: {holds}."]
    if g.padding_mode == "zeros":
        if not g.extension_left and not g.extension_right:
            return []
        return [
            f"Frames before 0 and after {diagram.L - 1} are zeros, absent from the sums "
            "(padding_mode='zeros')."
        ]
    count = sum(stop - start for start, stop in diagram.extension)
    if not count:
        return []
    return [
        f"{_count(count, 'frame')} beyond the ends of the input reach samples: {_copies(diagram)}."
    ]


def _copies(diagram: Diagram) -> str:
    lines = [*diagram.rows, *diagram.columns]
    copies = [line for line in lines if line is not None and line.kind == "copy"]
    examples = [f"frame {line.number} = x{line.source}" for line in copies[:2]]
    mode = f"padding_mode={diagram.geometry.padding_mode!r}"
    return f"{mode}, {', '.join(examples)}" if examples else mode


def _empty(diagram: Diagram) -> list[str]:
    """Samples without a term, and frames that no tap reads."""
    kind, verb, end = ("frame", "reads", ".")
    if isinstance(diagram.geometry, Geometry):
        kind, verb, end = ("sample", "lands on", ": the bias alone.")
    columns = (line.number for line in diagram.columns if line and line.kind == kind)
    empty = [number for number in columns if not diagram.is_reached(number)]
    if diagram.is_excerpt:
        where = f"Of the {kind}s shown, no tap {verb} {_named('', empty)}{end}"
    else:
        where = f"No tap {verb} {_named(kind, empty)}{end}"
    found = [where] if empty else []
    if not isinstance(diagram.geometry, Geometry) and not diagram.is_excerpt:
        summed = {term.row for term in diagram.terms if term.counts}
        bare = [n for n in range(diagram.L_out) if n not in summed]
        found += [f"{_named('Sample', bare)}: zeros, so the bias alone."] if bare else []
    return found


def _excerpt(diagram: Diagram) -> list[str]:
    if not diagram.is_excerpt:
        return []
    columns, rows = (
        ("position", "frame") if isinstance(diagram.geometry, Geometry) else ("frame", "sample")
    )
    shown = _count(sum(line is not None for line in diagram.columns), columns)
    shown_rows = _count(sum(line is not None for line in diagram.rows), rows)
    first, stop = diagram.span
    all_rows = sum(b - a for a, b in diagram.all_rows)
    return [f"An excerpt: {shown} of {stop - first:,}, and {shown_rows} of {all_rows:,}."]


def term_title(diagram: Diagram, term: Term) -> str:
    """One tap in words."""
    if isinstance(diagram.geometry, Geometry):
        lands = f"lands on sample {term.column}" if term.counts else "is cropped"
        return f"tap {term.tap} of frame {term.row} {lands}"
    zero = "" if term.counts else ", a zero"
    return f"tap {term.tap} of sample {term.row} reads frame {term.column}{zero}"


def description(diagram: Diagram) -> str:
    """The picture in words, for whoever cannot see it."""
    sums: dict[int, list[str]] = {}
    is_transposed = isinstance(diagram.geometry, Geometry)
    for line in diagram.columns if is_transposed else diagram.rows:
        if line is not None and line.kind == "sample":
            sums[line.number] = []
    for term in diagram.terms:
        if term.counts:
            sample, frame = (term.column, term.row) if is_transposed else (term.row, term.column)
            sums[sample].append(f"x{diagram.geometry.source(frame, diagram.L)}*w{term.tap}")
    first = list(sums.items())[:_SUMS]
    bare = "no tap that is shown" if diagram.is_excerpt else "the bias alone"
    shown = [f"y{n} = {' + '.join(terms) or bare}" for n, terms in first]
    more = [f"and {len(sums) - _SUMS} more"] if len(sums) > _SUMS else []
    parts = [heading(diagram) + ".", equation(diagram) + ".", *notes(diagram)]
    name = "Sums of the taps shown" if diagram.is_excerpt else "Sums"
    return " ".join([*parts, f"{name}: {'; '.join(shown + more)}."])


def _times(factor: int, name: str) -> str:
    return name if factor == 1 else f"{factor}*{name}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _named(noun: str, numbers: Iterable[int]) -> str:
    """``"samples 1, 3 and 5"``, or without a noun ``"1, 3 and 5"``."""
    names = [str(number) for number in numbers]
    before = noun and f"{noun} " if len(names) == 1 else noun and f"{noun}s "
    if len(names) > 6:
        return f"{before}{', '.join(names[:5])} and {len(names) - 5} more"
    return before + " and ".join([", ".join(names[:-1]), *names[-1:]] if names[1:] else names)
