"""Tests of networks from ONNX files; left out where onnx is not installed."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("onnx.reference") else ["test_*"]
