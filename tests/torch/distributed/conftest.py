"""The results of a file's scenarios, which ``ranks`` runs in worlds of the file's ``SIZES``."""

from __future__ import annotations

from typing import Any

import pytest
from ranks import launch


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "size" in metafunc.fixturenames:
        metafunc.parametrize("size", metafunc.module.SIZES)


@pytest.fixture(scope="module")
def worlds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of worlds of all sizes, the results of each rank, by scenario."""
    return launch(str(request.path), request.module.SIZES, tmp_path_factory.mktemp("ranks"))


@pytest.fixture
def seen(worlds: Any, size: int) -> Any:
    """Those of one size."""
    return worlds[size]
