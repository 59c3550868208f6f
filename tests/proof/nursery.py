"""The nursery: one process that has everything imported, and forks a process for each life of a server or a client.

So a birth takes milliseconds, and a thousand deaths minutes. What is born is a process like any other, and ``kill -9``
ends it as it ends any other.

It reads orders from its input, one in a line, and writes what happens to its output: born, ready, ended. What a life
says goes to a file of its own. When its input ends, everybody ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from tests.proof import client, server

PROGRAMS: dict[str, Callable[[list[str], Callable[[str], None]], None]] = {
    "server": server.run,
    "client": client.run,
}


class Nursery:
    """Reads orders, forks, reaps."""

    def __init__(self) -> None:
        self._alive: set[int] = set()
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)

    def run(self) -> None:
        """Until the input ends."""
        unread = b""
        while True:
            readable, _, _ = select.select([0, self._woken], [], [])
            if self._woken in readable:
                os.read(self._woken, 4096)
                self._reap(os.WNOHANG)
            if 0 in readable:
                data = os.read(0, 65536)
                if not data:
                    return self._end()
                *orders, unread = (unread + data).split(b"\n")
                for order in orders:
                    self._bear(**json.loads(order))

    def _end(self) -> None:
        for pid in self._alive:
            os.kill(pid, signal.SIGKILL)
        self._reap(0)

    def _bear(self, name: str, program: str, arguments: list[str], log: str) -> None:
        pid = os.fork()
        if not pid:
            _live(name, program, arguments, log)
        self._alive.add(pid)

    def _reap(self, options: int) -> None:
        while self._alive:
            pid, status = os.waitpid(-1, options)
            if not pid:
                return
            self._alive.discard(pid)
            tell("ended", pid, os.waitstatus_to_exitcode(status))


def tell(*words: str | int) -> None:
    """Write what has happened, in one piece."""
    os.write(1, json.dumps(words).encode() + b"\n")


def _live(name: str, program: str, arguments: list[str], log: str) -> NoReturn:
    """A life: from the fork to the exit code."""
    code = 1
    tell("born", name, os.getpid())
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(0)
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
        sys.stdout = sys.stderr = Path(log).open("w", buffering=1, encoding="utf-8")  # noqa: SIM115
        PROGRAMS[program](arguments, partial(tell, "ready", os.getpid()))
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may get back into the nursery
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    warnings.simplefilter("error")
    Nursery().run()
