"""From recorded calls of a framework to the graph of a network.

An operation's file reads its own operators through a :class:`Reader`. What only rearranges axes is
here, for all frameworks; a face of the library translates its framework's operators to it.
"""

from fracstride.network.reading.reader import Reader, Unreadable

__all__ = ["Reader", "Unreadable"]
