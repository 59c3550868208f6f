"""`ratatoskr serve` in a process of the demo's own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ratatoskr_cli.proof import CheckFailed

START_SECONDS = 30.0
STOP_SECONDS = 15.0


class ServerProcess:
    """A sandbox that runs. Methods raise CheckFailed where it does not do what it should, TimeoutError where late."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    async def url(self) -> str:
        """Where it listens, as soon as it does. To be asked once."""
        async with asyncio.timeout(START_SECONDS):
            said = await self._line()
        if said is None:
            raise CheckFailed(f"the sandbox did not start: {self._last_line()}")
        return str(said["listening"])

    def stop(self) -> None:
        """Tell it to stop: SIGTERM."""
        self._process.terminate()

    async def end(self) -> dict[str, Any]:
        """What it says of its end, once it has ended well."""
        last: dict[str, Any] = {}
        async with asyncio.timeout(STOP_SECONDS):
            while said := await self._line():
                last = said
            if await self._process.wait() or "stopped_by" not in last:
                raise CheckFailed(f"the sandbox did not end well: {last or self._last_line()}")
        return last

    async def _line(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        return json.loads(line) if line else None

    def _last_line(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


@asynccontextmanager
async def server_process(home: Path, name: str) -> AsyncGenerator[ServerProcess]:
    """A sandbox for the time of a block, with the identity of a directory of `dev init` and with new books.

    Leaving the block before it has ended kills it.
    """
    log = home / f"{name}.log"
    command = [
        *(sys.executable, "-m", "ratatoskr_cli", "serve", "--config", str(home / "server.toml")),
        *("--port", "0", "--db", str(home / f"{name}.sqlite"), "--json"),
    ]
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=errors)
    try:
        yield ServerProcess(process, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
