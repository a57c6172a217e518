"""Pictures of layers and of networks: what :func:`fracstride.draw` returns.

The picture of a layer is its own arithmetic, taken from its geometry: which frame feeds which
sample through which tap. Nothing here is loaded before the first picture is drawn.
"""

from __future__ import annotations

from typing import Any

from fracstride.conv1d_geometry import AnyGeometry, Conv1dGeometry
from fracstride.drawing.layer import LayerPicture
from fracstride.drawing.picture import Picture
from fracstride.geometry import Geometry

__all__ = ["Picture", "draw"]


def draw(subject: Any, L: int | None = None) -> Picture:
    """The picture of a layer or of a network.

    Of a layer it shows which frame feeds which sample through which tap, of a network its
    operations, with the rates and the look-ahead of what they give. A notebook shows the picture;
    ``print`` gives its form for terminals; ``save("x.svg")`` and ``save("x.png")`` write it.

    Args:
        subject: a :class:`fracstride.Geometry` or :class:`fracstride.Conv1dGeometry`, a layer of
            this library or of torch, a network, or what ``fracstride.torch.compile`` returns.
        L: frames of a layer's input; None for 4, or for as many as make a few samples.

    Raises:
        TypeError: it is none of these, or ``L`` is given for a network.
        ValueError: the layer does not accept so few frames.

    >>> import fracstride as fs
    >>> print(fs.draw(fs.Geometry(3, stride=2, padding=1), L=3))
    ConvTranspose1d: kernel_size=3, stride=2, padding=(1, 1)
    3 frames make 5 samples: tap m of frame t lands on sample 2*t + m - 1
    <BLANKLINE>
    frame 0 x0  w0 w1 w2
    frame 1 x1        w0 w1 w2
    frame 2 x2              w0 w1 w2
               ─────────────────────
    samples      × y0 y1 y2 y3 y4  ×
    phase        0  1  0  1  0  1  0
    <BLANKLINE>
    phase 0: w0 w2; phase 1: w1
    The padding crops 1 position on the left and 1 position on the right (×).
    """
    geometry = _geometry_of(subject)
    if geometry is not None:
        return LayerPicture(geometry, L)
    from fracstride.drawing.network import NetworkPicture
    from fracstride.network.network import Network

    network = getattr(subject, "network", subject)
    if isinstance(network, Network):
        if L is not None:
            raise TypeError(f"L is for the picture of a layer, got {L!r} for that of a network")
        return NetworkPicture(network)
    raise TypeError(
        "subject must be a Geometry, a Conv1dGeometry, a layer or a network, "
        f"got {type(subject).__name__}"
    )


def _geometry_of(subject: Any) -> AnyGeometry | None:
    geometry = getattr(subject, "geometry", subject)
    if isinstance(geometry, (Geometry, Conv1dGeometry)):
        return geometry
    # Layers of torch have the same names for their sizes; no other objects have all of them. (Twin
    # of fracstride.torch.module_geometry, which needs torch.)
    names = ("kernel_size", "stride", "padding", "output_padding", "dilation", "padding_mode")
    if not all(hasattr(subject, name) for name in (*names, "transposed")):
        return None
    sizes = {name: getattr(subject, name) for name in names}
    if subject.transposed:
        return Geometry(**sizes)
    del sizes["output_padding"]
    return Conv1dGeometry(**sizes)
