"""The last step of the demo against servers that stop badly: it must notice each, and say what does not hold."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from ratatoskr import CallError, Disposition, Failure, Status
from ratatoskr_cli import farewell as module
from ratatoskr_cli.client import KINDS, target_of
from ratatoskr_cli.farewell import farewell
from ratatoskr_cli.process import server_process
from ratatoskr_cli.proof import CheckFailed
from ratatoskr_cli.report import Report
from ratatoskr_files import Config, dev_init
from ratatoskr_sandbox import catalogue, sandbox_router
from ratatoskr_stores import SqliteStore
from ratatoskr_websockets import Peer, Server, serve
from tests.scenarios.cli.shell import SECONDS

WELL: dict[str, Any] = {"completed": 1, "stopped": 0, "clients": 1, "clean": 1}


class Served:
    """A server of this process, told to stop in one way or another."""

    def __init__(self, server: Server, stop: Callable[[Server], Awaitable[None]], says: dict[str, Any]) -> None:
        self._server = server
        self._stop = stop
        self._says = says
        self._stopping: asyncio.Future[None] | None = None

    def stop(self) -> None:
        self._stopping = asyncio.ensure_future(self._stop(self._server))

    async def end(self) -> dict[str, Any]:
        assert self._stopping is not None
        await self._stopping
        return self._says


async def drains(server: Server) -> None:
    await server.close()


async def drops(server: Server) -> None:
    await server.close(drain=False)


async def stops_handlers(server: Server) -> None:
    closing = asyncio.ensure_future(server.close())
    await asyncio.sleep(0)
    server._reception.stop()
    await closing


async def goes_on(server: Server) -> None:
    """It has not heard."""


async def told(home: Path, stop: Callable[[Server], Awaitable[None]], says: dict[str, Any]) -> str:
    """What the step shows."""
    files = dev_init(home, now=time.time())
    shown = io.StringIO()
    with redirect_stdout(shown), closing(SqliteStore(home / "books.sqlite")) as store:
        router = await sandbox_router(store, time.time)
        async with serve(router, Config.load(files.server, kinds=KINDS), store=store) as server:
            target = target_of(files.device, f"ws://127.0.0.1:{server.port}")
            assert await farewell(target, Served(server, stop, says), Report(as_json=False)) == 3
    return shown.getvalue()


def run(awaitable: Any) -> Any:
    return asyncio.run(asyncio.wait_for(awaitable, SECONDS))


def test_a_server_that_drains_passes(tmp_path: Path) -> None:
    shown = run(told(tmp_path, drains, WELL))
    assert "3 of 3 offers, 3 receipts, a new call refused, clean end" in shown


@pytest.mark.parametrize(
    ("stop", "says", "noticed"),
    [
        (drops, WELL, "cut off a client whose call was open"),
        (stops_handlers, WELL, "an open call did not complete: .*the handler was stopped"),
        (goes_on, WELL, "does not say so to its client"),
        (drains, {**WELL, "completed": 0}, "the open call did not complete, says the server"),
        (drains, {**WELL, "stopped": 1}, "the open call did not complete, says the server"),
        (drains, {**WELL, "clean": 0}, "the client did not leave cleanly, says the server"),
        (drains, {**WELL, "clients": 0, "clean": 0}, "the client did not leave cleanly, says the server"),
    ],
)
def test_a_server_that_stops_badly_is_noticed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: Callable[[Server], Awaitable[None]],
    says: dict[str, Any],
    noticed: str,
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(CheckFailed, match=noticed):
        run(told(tmp_path, stop, says))


def test_a_stream_that_ends_too_soon_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browse = catalogue.browse
    monkeypatch.setattr(catalogue, "browse", lambda *arguments: (browse(*arguments)[0][:1], None))
    with pytest.raises(CheckFailed, match="told to stop, and 1 of 3 offers came"):
        run(told(tmp_path, drains, WELL))


async def takes_it(*_: object) -> None:
    """An answer."""


async def refuses_otherwise(*_: object) -> None:
    raise CallError.of(Failure(Status.INTERNAL, "BROKEN", "broken", Disposition.NOT_PROCESSED))


@pytest.mark.parametrize(
    ("answer", "noticed"),
    [(takes_it, "takes a new call"), (refuses_otherwise, "a new call ends otherwise: .*BROKEN")],
)
def test_a_new_call_that_is_not_refused_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Awaitable[None]], noticed: str
) -> None:
    monkeypatch.setattr(Peer, "request", answer)
    with pytest.raises(CheckFailed, match=noticed):
        run(told(tmp_path, drains, WELL))


def test_a_process_says_where_it_listens_and_how_it_ended(tmp_path: Path) -> None:
    async def main() -> dict[str, Any]:
        dev_init(tmp_path, now=time.time())
        async with server_process(tmp_path, "x") as server:
            assert (await server.url()).startswith("ws://127.0.0.1:")
            server.stop()
            return await server.end()

    end = run(main())
    assert (end["stopped_by"], end["clients"]) == ("SIGTERM", 0)


def test_a_process_that_does_not_start_says_why(tmp_path: Path) -> None:
    async def main() -> None:
        async with server_process(tmp_path, "x") as server:
            await server.url()

    with pytest.raises(CheckFailed, match=r"did not start: ratatoskr: .*server\.toml"):
        run(main())


def test_a_process_that_dies_did_not_end_well(tmp_path: Path) -> None:
    async def main() -> None:
        dev_init(tmp_path, now=time.time())
        async with server_process(tmp_path, "x") as server:
            await server.url()
            server._process.kill()
            await server.end()

    with pytest.raises(CheckFailed, match="did not end well"):
        run(main())
