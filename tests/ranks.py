"""Tests that need several processes.

Such a test file is a program too. It imports what the tests need and forks its processes (*ranks*):
so many for the first world, then for the next. Each rank runs all scenarios of the file one after
the other, and writes their results, or their tracebacks, to a file. The tests read these files.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist

ENOUGH_SECONDS = 150  # then the processes end by themselves
TIMEOUT = timedelta(seconds=20)  # of a message


class Failed(str):
    """The traceback of a scenario."""


def launch(file: str, sizes: Sequence[int], folder: Path) -> dict[int, list[dict[str, Any]]]:
    """The results of each rank, by scenario, of worlds of so many ranks."""
    path = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, file, folder, *map(str, sizes)],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            start_new_session=True,
        )
        try:
            process.wait((ENOUGH_SECONDS + 30) * len(sizes))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the ranks, too
            process.wait()
    said = "\n".join(path.read_text() for path in sorted(folder.glob("**/log*")))
    assert process.returncode == 0, said
    return {
        size: [
            torch.load(folder / str(size) / f"seen-{rank}", weights_only=False)
            for rank in range(size)
        ]
        for size in sizes
    }


def take_part(scenarios: Callable[[int], Mapping[str, Callable[[], Any]]]) -> None:
    """The program: ``python file folder size ...``; the scenarios may depend on the size."""
    folder = Path(sys.argv[1])
    for size in map(int, sys.argv[2:]):
        (folder / str(size)).mkdir()
        ranks = []
        for rank in range(size):
            ranks.append(os.fork())
            if ranks[-1] == 0:
                _be_rank(rank, size, folder / str(size), scenarios(size))
        codes = [os.waitstatus_to_exitcode(os.waitpid(rank, 0)[1]) for rank in ranks]
        if any(codes):
            sys.exit(f"exit codes of {size} ranks: {codes}")


def load_the_compiler() -> None:
    """Call torch's compiler once, for scenarios that compile: ranks then inherit what it loads."""
    torch.compile(torch.neg, backend="aot_eager")(torch.ones(1))


def _be_rank(
    rank: int, size: int, folder: Path, scenarios: Mapping[str, Callable[[], Any]]
) -> NoReturn:
    with (folder / f"log-{rank}").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    code = 1
    try:
        _run(rank, size, folder, scenarios)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # torch 2.13 may abort at the end of a process in which a mesh is alive


def _run(rank: int, size: int, folder: Path, scenarios: Mapping[str, Callable[[], Any]]) -> None:
    faulthandler.dump_traceback_later(ENOUGH_SECONDS, exit=True)
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=(folder / "store").as_uri(),
        rank=rank,
        world_size=size,
        timeout=TIMEOUT,
    )
    seen: dict[str, Any] = {}
    for name, scenario in scenarios.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.filterwarnings("ignore", ".*weight_norm.*deprecated", FutureWarning)
                seen[name] = scenario()
        except BaseException:  # pytest's own among them
            seen[name] = Failed(traceback.format_exc())
    torch.save(seen, folder / f"seen-{rank}")
    dist.destroy_process_group()


def check(seen: list[dict[str, Any]], name: str) -> list[Any]:
    """The results of all ranks for a scenario; fails with the traceback if one of them raised."""
    for rank, of_rank in enumerate(seen):
        assert not isinstance(of_rank[name], Failed), f"rank {rank}: {of_rank[name]}"
    return [of_rank[name] for of_rank in seen]
