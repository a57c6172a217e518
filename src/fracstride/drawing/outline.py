"""What the picture of a network shows: its operations, one after another and side by side.

The graph is taken apart where everything passes through one operation. What lies between two such
places is a *fork* of branches, each taken apart in its turn, or a *tangle* that has no such places.
Equal parts in a row are folded into one that is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from fracstride.drawing.parts import Fork, Item, Step, Tangle, tangled
from fracstride.drawing.repeats import DILATION, folded
from fracstride.network.graph import Graph, Node
from fracstride.network.table import look_ahead
from fracstride.network.value import Value

__all__ = ["outline"]

_LINKS = 2  # of a second input, such as a mask; with more of them it is named where it is read


def outline(graph: Graph) -> tuple[Item, ...]:
    """The operations of a graph, from its inputs to its outputs.

    >>> from fracstride.network.operations.arithmetic import Add
    >>> from fracstride.network.operations.functions import Tanh
    >>> graph = Graph()
    >>> x = graph.add_input("x", channels=2)
    >>> graph.outputs.append(graph.add(Add(), x, graph.add(Tanh(), x)))
    >>> [type(item).__name__ for item in outline(graph)]
    ['Step', 'Fork', 'Step']
    """
    steps, before = _steps_and_links(graph.without_unused())
    plain = _Links(dict(enumerate(steps, 1)), before).items()
    if not tangled(plain):
        return plain
    # An activation that several branches share ties them together; each may have its own.
    own = _Links(*_unshared(steps, before)).items()
    return own if tangled(own) < tangled(plain) else plain


class _Links:
    """Numbered steps, in an order in which they can run, and the links between them.

    0 comes before all, and ``end`` after all.

    Args:
        steps: by number, from 1 on.
        before: what each of them follows, and the end of all.
    """

    def __init__(self, steps: dict[int, Step], before: list[list[int]]) -> None:
        self.steps, self.end = steps, len(steps) + 1
        self.after: list[list[int]] = [[] for _ in range(self.end + 1)]
        for number, links in enumerate(before, 1):
            for each in links:
                self.after[each].append(number)

    def items(self) -> tuple[Item, ...]:
        """All of it."""
        return self.between(0, self.end, range(1, self.end))

    def between(
        self, start: int, end: int, inside: Sequence[int], *, directly: bool = True
    ) -> tuple[Item, ...]:
        """What lies between two steps, of the steps inside; without the direct link if so said."""
        forward, backward = {start: 1}, {end: 1}  # paths to and from each step
        members = {start, *inside, end}
        after = {each: [n for n in self.after[each] if n in members] for each in (start, *inside)}
        if not directly:
            after[start] = [each for each in after[start] if each != end]
        for each, later_ones in after.items():
            for later in later_ones:
                forward[later] = forward.get(later, 0) + forward.get(each, 0)
        for each in (*reversed(inside), start):
            backward[each] = sum(backward.get(later, 0) for later in after[each])
        items: list[Item] = []
        last = start
        for cut in (*inside, end):
            if forward.get(cut, 0) * backward[cut] != backward[start]:
                continue  # some path passes it by
            between = [each for each in inside if last < each < cut]
            items += self._block(last, cut, between, cut in after[last])
            if cut != end:
                items.append(self.steps[cut])
            last = cut
        return tuple(folded(items))

    def _block(self, start: int, end: int, inside: list[int], direct: bool) -> Sequence[Item]:
        """What lies between two steps when no step inside is on all paths."""
        if not inside:
            return ()
        parts = self._parts(inside)
        if len(parts) == 1 and not direct:
            return [self._tangle(start, end, inside)]
        branches: list[tuple[Item, ...]] = [()] if direct else []
        for part in parts:
            branch = self.between(start, end, part, directly=False)
            # (a + b) + c is one sum of three.
            is_sum = (
                len(branch) == 2 and end in self.steps and _are_sums(branch[1], self.steps[end])
            )
            if is_sum and isinstance(branch[0], Fork):
                branches += branch[0].branches
            else:
                branches.append(branch)
        return [Fork(tuple(branches))]

    def _parts(self, inside: list[int]) -> list[list[int]]:
        """Steps that are linked with each other, whichever way."""
        part = {each: each for each in inside}

        def root(each: int) -> int:
            while part[each] != each:
                each = part[each]
            return each

        for each in inside:
            for later in self.after[each]:
                if later in part:
                    part[root(later)] = root(each)
        found: dict[int, list[int]] = {}
        for each in inside:
            found.setdefault(root(each), []).append(each)
        return list(found.values())

    def _tangle(self, start: int, end: int, inside: list[int]) -> Tangle:
        place = {each: at for at, each in enumerate(inside)} | {start: -1, end: len(inside)}
        links = [
            (place[each], place[later])
            for each in (start, *inside)
            for later in self.after[each]
            if later in place
        ]
        return Tangle(tuple(self.steps[each] for each in inside), tuple(dict.fromkeys(links)))


def _steps_and_links(graph: Graph) -> tuple[list[Step], list[list[int]]]:
    """The steps in order, from 1 on, and what each follows; the end of all comes last."""
    ahead = look_ahead(graph)
    steps: list[Step] = []
    before: list[list[int]] = []
    writer: dict[Value, int] = {}
    named: dict[Value, str] = {}
    readers = graph.readers()
    main = next((value for value in graph.inputs if not _is_timeless(value)), None)
    for value in graph.inputs:
        reads = readers.get(value, ())
        is_shared = len(reads) > _LINKS and None not in reads
        if _is_timeless(value) or (is_shared and value != main):
            named[value] = value.name or "an input"
            continue
        steps.append(_input(value))
        before.append([0])
        writer[value] = len(steps)
    for node in graph.nodes:
        read = [value for value in node.inputs if value.constant is None]
        names = list(dict.fromkeys(named[value] for value in read if value in named))
        followed = [writer[value] for value in read if value in writer]
        if not followed and all(map(_is_timeless, node.outputs)):
            named.update(dict.fromkeys(node.outputs, ", ".join(names)))
            continue
        steps.append(_step(node, ahead[node.outputs[0]], names))
        before.append(followed or [0])
        writer.update(dict.fromkeys(node.outputs, len(steps)))
    ends = [writer.get(value, 0) for value in graph.outputs]
    read_ones = {each for links in before for each in links}
    idle = [n for n in range(1, len(steps) + 1) if n not in read_ones and n not in ends]
    return steps, [*before, [*ends, *idle]]


def _unshared(
    steps: list[Step], before: list[list[int]]
) -> tuple[dict[int, Step], list[list[int]]]:
    """Each step without weights that follows one step alone, once for each step that follows it."""
    copies: dict[int, list[int]] = {}  # by the old number, in the order of the readers
    readers = [0] * (len(steps) + 1)
    for links in before:
        for each in links:
            readers[each] += 1
    # A copy of a copy's reader is counted too.
    for number in range(len(steps), 0, -1):
        if _is_cheap(steps[number - 1], before[number - 1]):
            readers[before[number - 1][0]] += max(readers[number], 1) - 1
    new_steps: dict[int, Step] = {}
    new_before: list[list[int]] = []

    def taken(each: int) -> int:
        return (
            copies[each].pop(0)
            if each and len(copies[each]) > 1
            else copies[each][0]
            if each
            else 0
        )

    for number, step in enumerate(steps, 1):
        links = before[number - 1]
        times = max(readers[number], 1) if _is_cheap(step, links) else 1
        copies[number] = []
        for _ in range(times):
            new_before.append([taken(each) for each in links])
            copies[number].append(len(new_before))
            new_steps[len(new_before)] = step
    new_before.append([taken(each) for each in before[-1]])
    return new_steps, new_before


def _is_cheap(step: Step, links: list[int]) -> bool:
    return len(links) == 1 and not step.has_weights and not step.is_input


def _input(value: Value) -> Step:
    if value.shape is None:
        return Step(value.name or "input", "", is_input=True, kind=("input",))
    signal = _signal(value)
    return Step(value.name or "input", signal, is_input=True, kind=("input", signal))


def _step(node: Node, ahead: Fraction | None, names: Sequence[str]) -> Step:
    operation, out = node.operation, node.outputs[0]
    name = f"{operation.name} {operation.details}".strip()
    if names:
        name += f" with {' and '.join(names)}"
    signal = ""
    if out.shape is not None:
        reach = "all" if ahead is None else f"{float(ahead):.6g}"
        signal = f"{_signal(out)}, look-ahead {reach}"
    # Layers that differ in dilation alone are of one kind.
    kind = (DILATION.sub("", name), *signal.split(", ")[:2])
    return Step(name, signal, node.path, has_weights=operation.parameters > 0, kind=kind)


def _is_timeless(value: Value) -> bool:
    return value.shape is not None and not value.rate


def _are_sums(*items: Item) -> bool:
    return all(isinstance(item, Step) and item.kind[0] == "Add" for item in items)


def _signal(value: Value) -> str:
    """``"4 channels, rate 8"``."""
    noun = "code" if value.is_codes else "channel"
    return f"{value.channels} {noun}{'s' * (value.channels != 1)}, rate {value.rate}"
