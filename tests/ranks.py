"""Tests that need several processes.

Such a test file is a program too. Each process (a *rank*) runs all scenarios of the file one after
the other, and writes their results, or their tracebacks, to a file. The tests read these files.
"""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

ENOUGH_SECONDS = 150  # then the processes end by themselves
TIMEOUT = timedelta(seconds=20)  # of a message


class Failed(str):
    """The traceback of a scenario."""


def launch(file: str, ranks: int, folder: Path) -> list[dict[str, Any]]:
    """The results of each rank, by scenario."""
    path = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    logs = [(folder / f"log-{rank}").open("w+") for rank in range(ranks)]
    processes = [
        subprocess.Popen(
            [sys.executable, file, str(rank), str(ranks), folder],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        )
        for rank, log in enumerate(logs)
    ]
    try:
        for process in processes:
            process.wait(ENOUGH_SECONDS + 30)
    finally:
        for process, log in zip(processes, logs, strict=True):
            process.kill()
            process.wait()
            log.close()
    said = "\n".join(Path(log.name).read_text() for log in logs)
    assert [process.returncode for process in processes] == [0] * ranks, said
    return [torch.load(folder / f"seen-{rank}", weights_only=False) for rank in range(ranks)]


def take_part(scenarios: Mapping[str, Callable[[], Any]]) -> None:
    """The program: ``python file rank ranks folder``."""
    rank, ranks, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    faulthandler.dump_traceback_later(ENOUGH_SECONDS, exit=True)
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=(folder / "store").as_uri(),
        rank=rank,
        world_size=ranks,
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
    sys.stdout.flush()
    os._exit(0)  # torch 2.13 may abort at the end of a process in which a mesh is alive


def check(seen: list[dict[str, Any]], name: str) -> list[Any]:
    """The results of all ranks for a scenario; fails with the traceback if one of them raised."""
    for rank, of_rank in enumerate(seen):
        assert not isinstance(of_rank[name], Failed), f"rank {rank}: {of_rank[name]}"
    return [of_rank[name] for of_rank in seen]
