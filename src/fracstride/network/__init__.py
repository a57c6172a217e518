"""Whole models: graphs of layers and elementwise operations that run in proportion to one clock."""

from __future__ import annotations

from fracstride.network.extent import Extent
from fracstride.network.graph import Graph, Node
from fracstride.network.network import Network
from fracstride.network.operation import Operation
from fracstride.network.value import Shape, Value, constant

__all__ = ["Extent", "Graph", "Network", "Node", "Operation", "Shape", "Value", "constant"]
