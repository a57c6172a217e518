"""What a wheel must be: `python packaging/check_wheel.py WHEEL...` prints its size and its faults.

The wheel holds one compiled module and no other library: OpenMP's runtime is the system's, which
torch shares. The module is stripped, and needs no library that a system of its kind may lack but
that runtime. Needs pyelftools, which auditwheel brings.
"""

from __future__ import annotations

import io
import re
import sys
import zipfile
from pathlib import Path, PurePosixPath

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

# x86-64, with the kernels of four instruction sets, takes 2.2 MB.
MOST_BYTES = 2_500_000

MODULE = re.compile(r"fracstride/_native(\.\S+)?\.(so|pyd)")  # without a tag in Windows
COMPILED = re.compile(r"\.(so|dylib|pyd|dll|a|lib)(\.[\d.]+)?$")
# glibc's, musl's, the compiler's, and OpenMP's, which the package names where it is missing.
LIBRARIES = re.compile(
    r"libgomp\.so\.1|libstdc\+\+\.so\.6|libgcc_s\.so\.1"
    r"|lib(m|c|pthread)\.so\.[06]|ld-linux-\S+\.so\.\d|libc\.musl-\S+\.so\.1"
)


def faults_of_module(data: bytes) -> list[str]:
    """What is wrong with a compiled module for Linux."""
    elf = ELFFile(io.BytesIO(data))
    faults = [
        f"is not stripped: it has the section {section.name}"
        for section in elf.iter_sections()
        if section.name in (".symtab", ".strtab") or section.name.startswith(".debug")
    ]
    dynamic = next(s for s in elf.iter_sections() if isinstance(s, DynamicSection))
    for tag in dynamic.iter_tags():
        if tag.entry.d_tag == "DT_NEEDED" and not LIBRARIES.fullmatch(tag.needed):
            faults.append(f"needs the library {tag.needed}")
        if tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH", "DT_TEXTREL"):
            faults.append(f"has a {tag.entry.d_tag}")
    return faults


def faults_of(wheel: Path) -> list[str]:
    """What is wrong with a wheel, one sentence each."""
    faults = []
    if wheel.stat().st_size > MOST_BYTES:
        faults.append(f"takes {wheel.stat().st_size} bytes, more than {MOST_BYTES}")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        modules = [name for name in names if MODULE.fullmatch(name)]
        if len(modules) != 1:
            faults.append(f"has {len(modules)} compiled modules, not one")
        for name in names:
            if COMPILED.search(name) and name not in modules:
                faults.append(f"brings the library {name}")
        for wanted in ("fracstride/py.typed", "fracstride/_native.pyi", "licenses/LICENSE"):
            if not any(name.endswith(wanted) for name in names):
                faults.append(f"has no {wanted}")
        tops = {PurePosixPath(name).parts[0] for name in names}
        for top in sorted(tops):
            if top != "fracstride" and not re.fullmatch(r"fracstride-\S+\.dist-info", top):
                faults.append(f"installs {top}, beside the package")
        for name in modules:
            data = archive.read(name)
            if data.startswith(b"\x7fELF"):
                faults += [f"{name} {fault}" for fault in faults_of_module(data)]
    return faults


def main(wheels: list[str]) -> int:
    """Print the faults of each wheel; the exit status is 1 if there are any, or no wheel."""
    bad = not wheels
    for wheel in map(Path, wheels):
        faults = faults_of(wheel)
        bad = bad or bool(faults)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB", *faults, sep="\n  ")
    return int(bad)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
