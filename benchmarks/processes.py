"""Objects in processes of their own, whose methods are called from here.

So the thread pools, the memory and the crashes of one library do not reach another one. Processes
are forked from one that has imported modules and run nothing, so that they start quickly.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

LEAVE = 2.0  # seconds in which a process may end by itself


class RemoteError(Exception):
    """A method has raised, its process has ended, or it took too long: the text says which."""


def preload(modules: Sequence[str]) -> None:
    """Have all processes begin with these modules imported. To be called before the first one."""
    get_context("forkserver").set_forkserver_preload(list(modules))


class Remote:
    """The object that ``make(*arguments)`` returns, in a new process.

    ``log`` is a file to which the process writes what it prints. Errors of ``make`` are raised by
    the first call of :meth:`ask`.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any, log: str = os.devnull) -> None:
        context = get_context("forkserver")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, log, make, arguments))
        self._process.start()
        theirs.close()

    def ask(self, method: str, *arguments: Any, patience: float | None = None) -> Any:
        """The method's result.

        Raises ``RemoteError`` if it raises. If its process ends, or if it takes over ``patience``
        seconds, the process is closed, too.
        """
        try:
            self._connection.send((method, arguments))
            if not self._connection.poll(patience):
                self.close()
                raise RemoteError(f"{method} takes more than {patience:.0f} s")
            done, result = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            self.close()
            raise RemoteError(f"its process ended during {method}: {how}") from None
        if not done:
            raise RemoteError(result)
        return result

    @property
    def closed(self) -> bool:
        """Whether the process has ended."""
        return self._connection.closed

    def close(self) -> None:
        """End the process, by itself if it is not busy."""
        self._connection.close()
        self._process.join(LEAVE)
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, log: str, make: Callable[..., Any], arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's: it closes us
    with open(log, "a") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    made: Any = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            method, values = connection.recv()
            try:
                if made is None:
                    made = make(*arguments)
                answer = (True, getattr(made, method)(*values))
            except Exception as error:
                answer = (False, f"{type(error).__name__}: {' '.join(str(error).split())}")
            connection.send(answer)
