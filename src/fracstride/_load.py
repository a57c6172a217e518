"""The compiled module, or a sentence that says why there is none."""

from __future__ import annotations

import os
import warnings

from fracstride.extension import check_numbers

# The OpenMP runtimes that the compiled module may be linked with, and packages that bring them.
_RUNTIMES = {
    "libgomp": "libgomp1 on Debian and Ubuntu, libgomp on Fedora, conda-forge and Alpine",
    "libomp": "libomp5 on Debian and Ubuntu, libomp on Fedora and Homebrew",
}


def _advice(loader_said: str) -> str:
    for library, packages in _RUNTIMES.items():
        if library in loader_said:
            return f"It needs the OpenMP runtime {library}: install the package {packages}."
    if "DLL load failed" in loader_said:  # on Windows, which does not say what is missing
        return "It may need Microsoft's Visual C++ Redistributable: install that."
    return (
        "Install it with `pip install .` in a checkout (needs a C++20 compiler: GCC or Clang). "
        "Importing from the source folder itself does not work."
    )


try:
    # A module that is imported again, as notebooks do, shares its types with the first.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "nanobind: type .* was already registered")
        from fracstride import _native as native
except ImportError as error:
    raise ImportError(
        "fracstride's compiled module could not be loaded, and there is no slow path in its "
        f"place. {_advice(str(error))} The loader said: {error}"
    ) from error

check_numbers(native.padding_modes())

__all__ = ["native", "select_instruction_set"]


def select_instruction_set(name: str | None) -> None:
    """Use the instruction set ``name``, or for None or "" the best that this machine has.

    Raises ``ImportError`` for a name that was not built in or that this machine lacks.
    """
    available = native.available_instruction_sets()
    name = name or native.best_instruction_set()
    if name not in native.built_instruction_sets():
        reason = "is none that this build has"
    elif name not in available:
        reason = "is more than this machine has"
    else:
        native.use_instruction_set(name)
        return
    raise ImportError(
        f"FRACSTRIDE_ISA must be one of {', '.join(available)} here: {name!r} {reason}"
    )


select_instruction_set(os.environ.get("FRACSTRIDE_ISA"))
