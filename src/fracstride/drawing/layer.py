"""The picture of a layer."""

from __future__ import annotations

from fracstride.conv1d_geometry import AnyGeometry
from fracstride.drawing.diagram import Diagram, usual_length
from fracstride.drawing.layer_svg import layer_svg
from fracstride.drawing.layer_text import columns_of, layer_text
from fracstride.drawing.picture import Picture
from fracstride.drawing.text import Lines
from fracstride.drawing.words import heading

__all__ = ["LayerPicture"]


class LayerPicture(Picture):
    """Which frame feeds which sample through which tap.

    Args:
        geometry: of the layer.
        L: frames of the input; None for a usual number.

    >>> from fracstride.geometry import Geometry
    >>> [str(term) for term in LayerPicture(Geometry(1), 1).diagram.terms]
    ['Term(row=0, column=0, tap=0, counts=True)']
    """

    def __init__(self, geometry: AnyGeometry, L: int | None = None) -> None:
        #: The frames, samples and taps that it shows.
        self.diagram = Diagram(geometry, usual_length(geometry) if L is None else L)

    def svg(self, *, themes: bool = True) -> str:
        """As :meth:`Picture.svg`."""
        return layer_svg(self.diagram, themes=themes)

    @property
    def title(self) -> str:
        """As :attr:`Picture.title`."""
        return heading(self.diagram)

    def lines(self, width: int) -> Lines:
        """As :meth:`Picture.lines`."""
        most = columns_of(self.diagram, width)
        narrow = Diagram(self.diagram.geometry, self.diagram.L, most_columns=most)
        return layer_text(narrow, width)
