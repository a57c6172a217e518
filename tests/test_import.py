"""What an import loads, its error without a compiled module, examples in docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from python_process import printed, python

import fracstride
import fracstride.drawing
from fracstride import _load

PUBLIC = [
    "Conv1d",
    "Conv1dGeometry",
    "ConvTranspose1d",
    "Geometry",
    "conv1d",
    "conv1d_adjoint",
    "conv_transpose1d",
    "conv_transpose1d_input_grad",
    "conv_transpose1d_weight_grad",
    "draw",
    "get_num_threads",
    "load",
    "set_num_threads",
    "show_config",
    "streaming",
]


# --- names and modules --------------------------------------------------------------------------


def test_the_names_of_the_contract() -> None:
    assert set(PUBLIC) <= set(fracstride.__all__)
    for name in fracstride.__all__:
        assert getattr(fracstride, name).__doc__


def test_version() -> None:
    assert fracstride.__version__ == version("fracstride")


def test_config_is_the_function() -> None:
    assert callable(fracstride.config)


def test_import_loads_numpy_and_nothing_else() -> None:
    loaded = printed(
        """
        import sys
        before = {name.partition(".")[0] for name in sys.modules}
        import fracstride
        after = {name.partition(".")[0] for name in sys.modules} - before
        print(*sorted(after - sys.stdlib_module_names))
        """
    ).split()
    # (On some systems sysconfig reads a module that is not in the list of standard modules, and
    # NumPy 1.26 contains parts of Cython.)
    foreign = ("_sysconfigdata", "_cython_", "cython_runtime")
    loaded = [name for name in loaded if not name.startswith(foreign)]
    assert loaded == ["fracstride", "numpy"]


def test_calls_load_nothing_more() -> None:
    assert (
        printed(
            """
            import sys
            import fracstride as fs
            import numpy as np
            for dtype in (np.float16, np.float32, np.float64, np.complex64):
                x, w = np.ones((2, 2, 5), dtype), np.ones((2, 2, 3), dtype)
                y = fs.conv_transpose1d(x, w, padding_mode="reflect")
                fs.conv_transpose1d_input_grad(y, w, 5)
                fs.conv_transpose1d_weight_grad(x, y, 3)
                fs.conv1d_adjoint(x, w, 7)
                fs.ConvTranspose1d(2, 2, 3, dtype=dtype)(x)
            print([name for name in ("torch", "ml_dtypes", "scipy") if name in sys.modules])
            """
        )
        == "[]"
    )


def test_a_picture_needs_numpy_alone() -> None:
    code = """
        import sys
        for name in ("rich", "resvg_py", "typer", "safetensors"):
            sys.modules[name] = None
        import fracstride as fs
        print("fracstride.drawing" in sys.modules, "fracstride.network" in sys.modules)
        picture = fs.draw(fs.Geometry(3))
        print(len(str(picture)) > 0, len(picture.svg()) > 0)
        """
    assert printed(code).splitlines() == ["False False", "True True"]


# --- the instruction set ------------------------------------------------------------------------


def test_the_best_instruction_set_is_chosen() -> None:
    best = fracstride.config()["isa_available"][-1]
    cpu = Path("/proc/cpuinfo")
    if best == "avx512bf16" and cpu.exists() and "GenuineIntel" in cpu.read_text("utf-8"):
        best = "avx512"  # which takes less time there
    for environment in ({}, {"FRACSTRIDE_ISA": ""}):
        assert (
            printed("import fracstride; print(fracstride.config()['isa'])", **environment) == best
        )


@pytest.mark.parametrize("name", fracstride.config()["isa_available"])
def test_an_instruction_set_is_forced(name: str) -> None:
    code = """
        import fracstride as fs
        import numpy as np
        y = fs.conv_transpose1d(np.ones((1, 2, 3)), np.ones((2, 1, 2)), stride=2)
        print(fs.config()["isa"], y.tolist() == [[[2.0] * 6]])
        """
    assert printed(code, FRACSTRIDE_ISA=name) == f"{name} True"


@pytest.mark.parametrize("name", ["sse9", "AVX2", " ", "baseline,avx2"])
def test_an_unknown_instruction_set(name: str) -> None:
    done = python("import fracstride", FRACSTRIDE_ISA=name)
    assert done.returncode == 1
    available = ", ".join(fracstride.config()["isa_available"])
    last = done.stderr.splitlines()[-1]
    wanted = f"FRACSTRIDE_ISA must be one of {available} here: {name!r} is none that this build has"
    assert last == f"ImportError: {wanted}"


def test_an_instruction_set_beyond_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []
    stub = SimpleNamespace(
        built_instruction_sets=lambda: ["baseline", "avx2", "avx512"],
        available_instruction_sets=lambda: ["baseline", "avx2"],
        best_instruction_set=lambda: "avx2",
        use_instruction_set=used.append,
    )
    monkeypatch.setattr(_load, "native", stub)
    wanted = (
        r"^FRACSTRIDE_ISA must be one of baseline, avx2 here: 'avx512' is more than this machine"
    )
    with pytest.raises(ImportError, match=wanted):
        _load.select_instruction_set("avx512")
    assert used == []
    for name in ("baseline", "avx2", None, ""):
        _load.select_instruction_set(name)
    assert used == ["baseline", "avx2", "avx2", "avx2"]


# --- no compiled module -------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["fracstride", "fracstride.geometry", "fracstride.layer"])
def test_without_the_compiled_module(first: str) -> None:
    done = python(f"import sys; sys.modules['fracstride._native'] = None; import {first}")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: fracstride's compiled module could not be loaded")
    for part in ("`pip install .` in a checkout", "C++20", "fracstride._native"):
        assert part in last


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("libgomp.so.1: cannot open", "install the package libgomp1 on Debian and Ubuntu"),
        ("libomp.so.5: cannot open", "install the package libomp5 on Debian and Ubuntu"),
        ("Library not loaded: @rpath/libomp.dylib", "libomp on Fedora and Homebrew"),
        ("DLL load failed while importing _native", "Visual C++ Redistributable"),
    ],
)
def test_without_a_library_that_it_needs(said: str, advice: str) -> None:
    done = python(
        f"""
        import sys

        class Loader:
            def find_spec(self, name, path=None, target=None):
                if name == "fracstride._native":
                    raise ImportError("{said}")

        sys.meta_path.insert(0, Loader())
        import fracstride
        """
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: fracstride's compiled module could not be loaded")
    assert advice in last
    assert last.endswith(f"The loader said: {said}")
    assert "pip" not in last


# --- docstrings ---------------------------------------------------------------------------------

# (The tests of geometry and reference run their examples; __main__ prints when imported.)
MODULES = ["fracstride"] + [
    f"fracstride.{found.name}"
    for found in pkgutil.iter_modules(fracstride.__path__)
    if found.name not in ("__main__", "_native", "geometry", "reference") and not found.ispkg
]
MODULES += [
    f"fracstride.streaming.{found.name}"
    for found in pkgutil.iter_modules(fracstride.streaming.__path__)
]
MODULES += ["fracstride.drawing"] + [
    f"fracstride.drawing.{found.name}"
    for found in pkgutil.iter_modules(fracstride.drawing.__path__)
]


def test_the_modules_are_found() -> None:
    wanted = {"fracstride", "fracstride.arrays", "fracstride.functional", "fracstride.layer"}
    assert wanted <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name: str) -> None:
    result: Any = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    if name.rpartition(".")[2] in ("fracstride", "arrays", "config", "functional", "layer"):
        assert result.attempted > 0
