"""Ctrl-C during `ratatoskr call`, while a handler is at work."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import pytest

from ratatoskr import MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE, v1
from ratatoskr.service import Call, Router
from ratatoskr_cli.client import KINDS
from ratatoskr_files import Config
from ratatoskr_websockets import Peer, serve
from tests.scenarios.cli.shell import SCRIPT, SECONDS, payment


class Slow:
    """A server whose handlers wait until they are told."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.stopped = False
        self.router = Router()

        @self.router.on(MARKETPLACE_SEARCH)
        async def search(_: v1.Search, call: Call) -> v1.SearchResult:
            await self._work()
            return v1.SearchResult()

        @self.router.on(PAYMENT_AUTHORIZE)
        async def authorize(_: v1.AuthorizePayment, call: Call) -> v1.PaymentAuthorized:
            await self._work()
            return v1.PaymentAuthorized()

    async def _work(self) -> None:
        self.begun.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.stopped = True
            raise


async def interrupted(
    dev: Path,
    kind: str,
    payload: object,
    *options: str,
    then: Callable[[asyncio.subprocess.Process, Peer], Awaitable[None]],
) -> tuple[int, str, str, bool]:
    """Ctrl-C once the handler has begun, and then something. Exit code, both outputs, whether the handler stopped."""
    slow = Slow()
    pipe = asyncio.subprocess.PIPE
    async with serve(slow.router, Config.load(dev / "server.toml", kinds=KINDS)) as server:
        target = ("--config", str(dev / "device.toml"), "--url", f"ws://127.0.0.1:{server.port}")
        line = (SCRIPT, "call", kind, json.dumps(payload), *target, *options)
        process = await asyncio.create_subprocess_exec(*line, stdout=pipe, stderr=pipe)
        await slow.begun.wait()
        process.send_signal(signal.SIGINT)
        await then(process, server.peers[0])
        out, err = await process.communicate()
        slow.go_on.set()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode(), slow.stopped


def run(ending: Coroutine[None, None, tuple[int, str, str, bool]]) -> tuple[int, str, str, bool]:
    return asyncio.run(asyncio.wait_for(ending, SECONDS))


async def nothing(_: asyncio.subprocess.Process, __: Peer) -> None:
    """Wait for what the first Ctrl-C does."""


async def again(process: asyncio.subprocess.Process, client: Peer) -> None:
    """Press it once more when the first has done something."""
    await client.wait_going_away()
    process.send_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("options", "out"), [((), ""), (("--json",), '{"kind": "MARKETPLACE_SEARCH", "interrupted": true}\n')]
)
def test_a_call_is_cancelled(dev: Path, options: tuple[str, ...], out: str) -> None:
    ended = run(interrupted(dev, "MARKETPLACE_SEARCH", {}, *options, then=nothing))
    assert ended == (130, out, "ratatoskr: MARKETPLACE_SEARCH: interrupted; the call was cancelled\n", True)


def test_a_payment_goes_on_and_that_is_said(dev: Path) -> None:
    code, _, err, stopped = run(interrupted(dev, "PAYMENT_AUTHORIZE", payment("ctrl-c"), then=nothing))
    assert (code, stopped) == (130, False)
    assert err == (
        "ratatoskr: PAYMENT_AUTHORIZE: interrupted; "
        "the connection was cut, because the server did not end the call in time. "
        "Nobody knows whether it happened: make the same call again, it runs at most once\n"
    )


def test_a_second_ctrl_c_waits_for_nobody(dev: Path) -> None:
    ended = run(interrupted(dev, "PAYMENT_AUTHORIZE", payment("ctrl-c-c"), then=again))
    assert ended == (130, "", "", False)
