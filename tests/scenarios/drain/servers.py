"""The example's servers, each in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

ROOT = Path(__file__).parents[3]
EXAMPLE = "examples.rolling_restart.server"


class ServerProcess:
    """One server, which is started again and again. ``log`` is what it says, from its first start on."""

    def __init__(self, home: Path, port: int, *program: str) -> None:
        self._home = home
        self._port = port
        self._program = program or (EXAMPLE,)
        self._process: Process
        self._reading: asyncio.Task[None]
        self._new_line = asyncio.Condition()
        self._started_at = 0
        self.log: list[str] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://localhost:{self._port}"

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._started_at = len(self.log)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *self._program,
            str(self._port),
            cwd=self._home,
            env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error"},
            stdout=DEVNULL,
            stderr=PIPE,
        )
        self._reading = asyncio.create_task(self._read())
        await self.says("listening: ")

    async def says(self, words: str) -> None:
        """Wait for a line with these words, since the start."""
        async with self._new_line:
            await self._new_line.wait_for(lambda: self._reading.done() or self._has_said(words))
        assert self._has_said(words), self.log[self._started_at :]

    def _has_said(self, words: str) -> bool:
        return any(words in line for line in self.log[self._started_at :])

    async def terminate(self) -> int:
        """SIGTERM, and nothing else; its exit code."""
        self._process.terminate()
        return await self._ended()

    async def kill(self) -> int:
        """SIGKILL, where it still runs; its exit code."""
        if self._process.returncode is None:
            self._process.kill()
        return await self._ended()

    async def _ended(self) -> int:
        code = await self._process.wait()
        await self._reading
        return code

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            await self._say(line.decode().rstrip())
        async with self._new_line:
            self._new_line.notify_all()

    async def _say(self, line: str) -> None:
        async with self._new_line:
            self.log.append(line)
            self._new_line.notify_all()
