"""A rolling restart of two servers under load fails no call: real processes, real WebSockets, real signals."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from ratatoskr import CallRefused, Closed, Fault, OutcomeUnknown
from ratatoskr.service import Redial
from ratatoskr_files import Config as FileConfig
from ratatoskr_files import dev_init
from ratatoskr_websockets import connect
from tests.docs.shell import free_port
from tests.scenarios.drain.load import Load
from tests.scenarios.drain.servers import ServerProcess

ROUNDS = 2
ANSWERS = 20
"""Of each kind, from each server before it is restarted."""
SECONDS = 60.0
"""It does not take that long, unless something hangs."""


class World:
    """Two servers with one store, a client under load, and how each of its connections ended."""

    def __init__(self, home: Path, *program: str) -> None:
        dev_init(home / "dev", now=time.time())
        self.home = home
        self.servers = [ServerProcess(home, free_port(), *program) for _ in range(2)]
        self.codes: list[int] = []
        self.load: Load
        self.end: Closed | None = None
        """How it ended for the client."""

    @property
    def log(self) -> list[str]:
        """What both servers said."""
        return [line for server in self.servers for line in server.log]

    def payments(self) -> list[str]:
        """What was paid: each execution wrote its key into the servers' file."""
        with closing(sqlite3.connect(self.home / "outcomes.sqlite")) as db:
            return [key for (key,) in db.execute("SELECT end_to_end_id FROM payments")]

    async def restart(self, rounds: int, end: Callable[[ServerProcess], Awaitable[int]]) -> None:
        """Start the servers, and restart each in turn while the client asks the one that is restarted."""
        async with asyncio.timeout(SECONDS):
            try:
                await asyncio.gather(*(server.start() for server in self.servers))
                config = FileConfig.load(self.home / "dev/device.toml")
                urls = [server.url for server in self.servers]
                async with connect(urls, config, redial=Redial()) as platform:
                    self.load = Load(platform, random.Random(7))
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self.load.run())
                        for _ in range(rounds):
                            for server in self.servers:
                                await self._restart(server, end)
                        self.load.stop()
                    self.end = await platform.close()
                self.codes += [await server.terminate() for server in self.servers]
            finally:
                for server in self.servers:
                    await server.kill()

    async def _restart(self, server: ServerProcess, end: Callable[[ServerProcess], Awaitable[int]]) -> None:
        await server.says("opened: device-1")
        await self.load.more(ANSWERS)
        self.codes.append(await end(server))
        await server.start()


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., World]:
    return lambda *program: World(tmp_path, *program)


def test_a_rolling_restart_fails_no_call(world: Callable[..., World]) -> None:
    """No CallError came out of a call: it would have ended the load."""
    roll = world()
    asyncio.run(roll.restart(ROUNDS, ServerProcess.terminate))
    restarts = ROUNDS * len(roll.servers)
    assert roll.load.answered == roll.load.asked
    assert min(roll.load.answered.values()) >= restarts * ANSWERS
    assert sorted(roll.payments()) == sorted(roll.load.payments)
    assert len(set(roll.load.payments.values())) == len(roll.load.payments)
    assert roll.codes == [0] * (restarts + len(roll.servers))
    assert roll.end is not None
    assert roll.end.fault is Fault.CLEAN
    ended = [line for line in roll.log if "closed: device-1" in line]
    assert len(ended) == restarts + 1
    assert all(": CLEAN [" in line for line in ended)
    assert [line for line in roll.log if not line.startswith("INFO:ratatoskr.websockets:")] == []


@pytest.mark.parametrize(
    ("bug", "error", "words"),
    [
        ("silent", CallRefused, "GOING_AWAY"),
        ("impatient", OutcomeUnknown, "CANCELLED|OUTCOME_UNKNOWN"),
        ("alone", AssertionError, "was paid again"),
    ],
)
def test_a_bug_of_draining_is_seen(world: Callable[..., World], bug: str, error: type[Exception], words: str) -> None:
    roll = world("tests.scenarios.drain.planted", bug)
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(roll.restart(1, ServerProcess.terminate))
    assert caught.group_contains(error, match=words)


def test_a_server_that_dies_is_seen(world: Callable[..., World]) -> None:
    """What was sent to it and may run twice has no known outcome."""
    roll = world()
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(roll.restart(1, ServerProcess.kill))
    assert caught.group_contains(OutcomeUnknown, match="SESSION_UNKNOWN")
