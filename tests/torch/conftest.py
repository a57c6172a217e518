"""Tests that call torch ignore the deprecation warnings of torch itself."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_TORCHS_OWN = (
    "ignore:`torch.jit:DeprecationWarning",
    "ignore:`isinstance.treespec:FutureWarning",
    "ignore:Complex modules are a new feature:UserWarning",
    "ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning",
    "ignore:.*is deprecated:DeprecationWarning:torch",
    "ignore:.*is deprecated:FutureWarning:torch",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            for warning in _TORCHS_OWN:
                item.add_marker(pytest.mark.filterwarnings(warning), append=False)
