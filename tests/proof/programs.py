"""Processes, as a campaign sees them: from the order to the exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
"""Nothing takes that long, unless something hangs."""
SHOWN = 60
"""Lines of output that are shown of a life that ended otherwise."""


class Unexpected(AssertionError):
    """A process did not end as it should, or hangs."""


class Life:
    """One process."""

    def __init__(self, log: Path) -> None:
        loop = asyncio.get_running_loop()
        self._log = log
        self.pid: asyncio.Future[int] = loop.create_future()
        self._ready: asyncio.Future[str] = loop.create_future()
        self._code: asyncio.Future[int] = loop.create_future()

    def is_born(self, pid: int) -> None:
        """It has begun."""
        self.pid.set_result(pid)

    def is_ready(self, what: str) -> None:
        """It says so."""
        self._ready.set_result(what)

    def has_ended(self, code: int) -> None:
        """With that exit code; negative for a signal."""
        self._code.set_result(code)
        if not self._ready.done():
            self._ready.cancel()

    async def ready(self) -> str:
        """Wait until it is. Returns what it says of that."""
        await asyncio.wait([self._ready], timeout=SECONDS)
        if not self._ready.done() or self._ready.cancelled():
            raise Unexpected(f"it is not ready: {self}")
        return self._ready.result()

    async def ended(self, code: int) -> None:
        """Wait for its end. Raises Unexpected where that is another one, or does not come."""
        await asyncio.wait([self._code], timeout=SECONDS)
        if not self._code.done():
            raise Unexpected(f"it does not end: {self}")
        if self._code.result() != code:
            raise Unexpected(f"it ended with {self._code.result()} and not with {code}: {self}")

    def kill(self) -> None:
        """SIGKILL. No-op where it has ended."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM. No-op where it has ended; :meth:`ended` says how."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if not self._code.done():
            with suppress(ProcessLookupError):  # it has, and we shall hear of it
                os.kill(self.pid.result(), number)

    def __str__(self) -> str:
        said = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        return "\n  | ".join([self._log.name, *said[-SHOWN:]])


class Births:
    """The nursery, seen from outside. At the end of its ``async with`` block nobody lives."""

    def __init__(self) -> None:
        self._lives: dict[str | int, Life] = {}
        """By name until they are born, then by process id, until they have ended."""

    async def __aenter__(self) -> Self:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._nursery = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.proof.nursery"),
            env={**os.environ, "PYTHONPATH": path},
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,
        )
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._nursery.stdin is not None
        self._nursery.stdin.close()
        await self._nursery.wait()
        await self._listening

    async def start(self, program: str, arguments: list[str], log: Path) -> Life:
        """A new life; ``log`` is the file for what it says, which no other life has. Returns when it is born."""
        life = self._lives[log.name] = Life(log)
        order = {"name": log.name, "program": program, "arguments": arguments, "log": str(log)}
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(json.dumps(order).encode() + b"\n")
        await asyncio.wait_for(asyncio.shield(life.pid), SECONDS)
        return life

    async def _listen(self) -> None:
        assert self._nursery.stdout is not None
        async for line in self._nursery.stdout:
            match json.loads(line):
                case "born", name, pid:
                    life = self._lives[pid] = self._lives.pop(name)
                    life.is_born(pid)
                case "ready", pid, what:
                    self._lives[pid].is_ready(what)
                case "ended", pid, code:
                    self._lives.pop(pid).has_ended(code)
