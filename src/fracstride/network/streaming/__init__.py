"""Whole networks fed chunk by chunk."""

from __future__ import annotations

from fracstride.network.streaming.stream import NetworkStream

__all__ = ["NetworkStream"]
