"""Fusing: the same graph with fewer passes over memory.

Each file makes one kind of change. Their order counts: pads and crops leave the way between
convolutions and elementwise operations free, and what is left of those is joined at the end.
"""

from __future__ import annotations

from fracstride.arrays import DType
from fracstride.network.fusing.activations import fuse_activations
from fracstride.network.fusing.antialiasing import fuse_antialiasing
from fracstride.network.fusing.bends import find_bends
from fracstride.network.fusing.chains import fuse_chains
from fracstride.network.fusing.factors import fold_factors
from fracstride.network.fusing.frames import fuse_frames
from fracstride.network.fusing.pads import fold_crops, fold_pads
from fracstride.network.fusing.residuals import fuse_residuals
from fracstride.network.graph import Graph, Node

__all__ = ["fuse"]


def fuse(graph: Graph, dtype: DType, *, everything: bool = True) -> Graph:
    """A graph that computes the same with fewer operations; nodes that nobody reads are left out.

    Without ``everything``, only what a run needs: each elementwise operation becomes a program.
    """
    nodes = [Node(n.operation, n.inputs, n.outputs, n.path) for n in graph.nodes]
    fused = Graph(list(graph.inputs), nodes, list(graph.outputs)).without_unused()
    if everything:
        for change in (fold_pads, find_bends, fold_factors, fold_crops, fuse_frames):
            fused = change(fused)
        for change in (fuse_activations, fuse_residuals):
            fused = change(fused)
    fused = fuse_chains(fused, dtype, everything=everything)
    return fuse_antialiasing(fused) if everything else fused
