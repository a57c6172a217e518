"""The picture of a network."""

from __future__ import annotations

from fracstride.drawing.network_svg import network_svg
from fracstride.drawing.network_text import network_text
from fracstride.drawing.outline import outline
from fracstride.drawing.picture import Picture
from fracstride.drawing.text import Lines
from fracstride.network.network import Network
from fracstride.network.streaming.obstacles import obstacle_of

__all__ = ["NetworkPicture"]


class NetworkPicture(Picture):
    """The operations of a network, with the rates and the look-ahead of what they give.

    Args:
        network: what is drawn, as the model has it.

    >>> import fracstride as fs
    >>> from fracstride.network import Graph, Network
    >>> from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
    >>> from fracstride.network.operations.functions import Tanh
    >>> graph = Graph()
    >>> layer = fs.ConvTranspose1d(4, 1, kernel_size=4, stride=2, padding=1, rng=0)
    >>> samples = graph.add(ConvTranspose1d(layer), graph.add_input("frames", channels=4))
    >>> graph.outputs.append(graph.add(Tanh(), samples))
    >>> print(NetworkPicture(Network(graph)).text().partition("streams")[0])
    Network: 2 operations, float32
    <BLANKLINE>
    [frames]               4 channels, rate 1
    ConvTranspose1d k4 s2  1 channel, rate 2, look-ahead 0.5
    Tanh
    <BLANKLINE>
    <BLANKLINE>
    """

    def __init__(self, network: Network) -> None:
        graph = network.graph
        self._items = outline(graph)
        count = len(graph.nodes)
        name = "operation" if count == 1 else "operations"
        self._heading = f"Network: {count:,} {name}, {network.dtype.name}"
        obstacle = obstacle_of(graph)
        self._notes = [f"cannot stream: {obstacle}" if obstacle else network.schedule.summary]

    def svg(self, *, themes: bool = True) -> str:
        """As :meth:`Picture.svg`."""
        return network_svg(self._items, self._heading, self._notes, themes=themes)

    @property
    def title(self) -> str:
        """As :attr:`Picture.title`."""
        return self._heading

    def lines(self, width: int) -> Lines:
        """As :meth:`Picture.lines`."""
        return network_text(self._items, self._heading, self._notes)
