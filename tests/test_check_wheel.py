"""packaging/check_wheel.py finds what a wheel must not have."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("elftools.elf.elffile")

PATH = Path(__file__).parents[1] / "packaging" / "check_wheel.py"
spec = importlib.util.spec_from_file_location("check_wheel", PATH)
assert spec
assert spec.loader
check_wheel: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_wheel)

MODULE = "fracstride/_native.abi3.so"
GOOD = {
    MODULE: b"not read, since it is no ELF file",
    "fracstride/py.typed": b"",
    "fracstride/_native.pyi": b"",
    "fracstride-1.dist-info/licenses/LICENSE": b"",
}


def faults(tmp_path: Path, files: dict[str, bytes]) -> list[str]:
    wheel = tmp_path / "fracstride-1-cp312-abi3-linux_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return list(check_wheel.faults_of(wheel))


@pytest.mark.parametrize(
    "module", [MODULE, "fracstride/_native.pyd", "fracstride/_native.cp310.so"]
)
def test_a_good_wheel(module: str, tmp_path: Path) -> None:
    files = {module if name == MODULE else name: data for name, data in GOOD.items()}
    assert faults(tmp_path, files) == []


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        (
            {"fracstride.libs/libgomp-f9a9ad78.so.1.0.0": b""},
            "brings the library fracstride.libs/libgomp-f9a9ad78.so.1.0.0",
        ),
        ({"fracstride/.dylibs/libomp.dylib": b""}, "brings the library fracstride/.dylibs/"),
        ({"fracstride/_native.cp311-win_amd64.pyd": b""}, "has 2 compiled modules"),
        ({"tests/cases.py": b""}, "installs tests, beside the package"),
        ({"fracstride/big": bytes(2_600_000)}, "more than 2500000"),
    ],
)
def test_what_is_too_much(tmp_path: Path, files: dict[str, bytes], fault: str) -> None:
    found = faults(tmp_path, GOOD | files)
    assert any(fault in each for each in found), found


@pytest.mark.parametrize("name", GOOD)
def test_what_is_missing(tmp_path: Path, name: str) -> None:
    assert len(faults(tmp_path, {k: v for k, v in GOOD.items() if k != name})) == 1


@pytest.mark.parametrize("library", ["libgomp.so.1", "libc.so.6", "ld-linux-x86-64.so.2"])
def test_libraries_that_a_system_has(library: str) -> None:
    assert check_wheel.LIBRARIES.fullmatch(library)


@pytest.mark.parametrize("library", ["libgomp-f9a9ad78.so.1", "libomp.so.5", "libtorch.so"])
def test_libraries_that_a_system_may_lack(library: str) -> None:
    assert not check_wheel.LIBRARIES.fullmatch(library)
