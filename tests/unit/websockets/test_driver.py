"""The driver, between a connection that says what the test wants and a WebSocket that the test holds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, cast

import pytest
from websockets.asyncio.connection import Connection as WebSocket
from websockets.exceptions import ConnectionClosedOK
from websockets.frames import Close

from ratatoskr import Connection, Disconnect, GoingAway, Now, Transmit, Wait
from ratatoskr.lines import Driver
from ratatoskr_asyncio import AsyncioRuntime
from ratatoskr_websockets.names import LOGGER, MESSAGE_BYTES
from ratatoskr_websockets.transport import WebSocketTransport

CLOSED = ConnectionClosedOK(Close(1000, "done"), Close(1000, "done"), rcvd_then_sent=True)


class FakeConnection:
    """Says what was queued, then ``Wait``; notes what it is told."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.outputs: deque[Any] = deque()
        self.deadlines: deque[float] = deque()
        """What each Wait names; infinity behind them."""
        self.brings: dict[bytes, list[Any]] = {}
        """What comes of data that is received."""

    def poll(self, now: Now) -> Any:
        if self.outputs:
            return self.outputs.popleft()
        return Wait(self.deadlines.popleft() if self.deadlines else inf, None)

    def receive(self, data: bytes) -> None:
        self.log.append(f"received {data.decode()}")
        self.outputs += self.brings.get(data, [])

    def receive_eof(self, error: str | None = None) -> None:
        self.log.append("eof")

    def sent(self) -> None:
        self.log.append("sent")


class FakeWebSocket:
    """Takes what is sent while its gate is open, and brings what the test puts."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.gate = asyncio.Event()
        self.gate.set()
        self.sent: list[bytes] = []
        self.incoming: asyncio.Queue[bytes | str | Exception] = asyncio.Queue()
        self.transport = self
        self.remote_address = ("192.0.2.1", 8765)

    def abort(self) -> None:
        self.log.append("abort")

    async def recv(self) -> bytes | str:
        message = await self.incoming.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def send(self, data: bytes) -> None:
        await self.gate.wait()
        self.sent.append(data)

    async def close(self, code: int, reason: str) -> None:
        self.log.append(f"close {code} {reason}")
        self.incoming.put_nowait(CLOSED)

    async def wait_closed(self) -> None:
        assert await self.incoming.get() is CLOSED


class Scene:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.connection = FakeConnection(self.log)
        self.websocket = FakeWebSocket(self.log)
        self.driver = Driver(
            cast("Connection", self.connection),
            WebSocketTransport(cast("WebSocket", self.websocket)),
            AsyncioRuntime(LOGGER),
            lambda event: self.log.append(type(event).__name__),
            lambda: self.log.append("wait"),
        )
        self.running = asyncio.create_task(self.driver.run())

    async def turns(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    def take(self) -> list[str]:
        """What was noted since."""
        log = list(self.log)
        self.log.clear()
        return log

    async def end(self) -> None:
        self.websocket.incoming.put_nowait(CLOSED)
        await self.running


def scene(test: Callable[[Scene], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test, in a loop of its own, of a driver that runs and waits."""

    async def main() -> None:
        scene = Scene()
        await scene.turns()
        assert scene.take() == ["wait"]
        await test(scene)
        if not scene.running.done():
            await scene.end()
        assert scene.log[-3:] == ["abort", "eof", "wait"]

    def wrapped() -> None:
        asyncio.run(main())

    wrapped.__name__ = test.__name__
    return wrapped


@scene
async def test_what_comes_is_told_event_by_event_and_then_wait(scene: Scene) -> None:
    """One message may bring much. What is begun at ``Wait`` begins behind all of it."""
    scene.connection.brings[b"two"] = [GoingAway(""), GoingAway("")]
    scene.websocket.incoming.put_nowait(b"two")
    await scene.turns()
    assert scene.take() == ["received two", "GoingAway", "GoingAway", "wait"]


@scene
async def test_after_each_write_the_connection_is_told_and_polled(scene: Scene) -> None:
    """Nothing else would make it say more."""
    scene.connection.outputs.append(Transmit(b"one"))
    scene.driver.wake()
    await scene.turns()
    assert scene.take() == ["wait", "sent", "wait"]
    scene.websocket.gate.clear()
    scene.connection.outputs.append(Transmit(b"two"))
    scene.driver.wake()
    await scene.turns()
    assert scene.take() == ["wait"]
    scene.websocket.gate.set()
    await scene.turns()
    assert scene.take() == ["sent", "wait"]
    assert scene.websocket.sent == [b"one", b"two"]


@scene
async def test_reading_goes_on_while_a_write_blocks(scene: Scene) -> None:
    scene.websocket.gate.clear()
    scene.connection.outputs.append(Transmit(b"one"))
    scene.driver.wake()
    for data in (b"a", b"b"):
        scene.websocket.incoming.put_nowait(data)
    await scene.turns()
    assert scene.take() == ["wait", "received a", "wait", "received b", "wait"]
    scene.websocket.gate.set()


@scene
async def test_what_is_called_in_one_turn_is_polled_for_once(scene: Scene) -> None:
    for _ in range(5):
        scene.driver.wake()
    assert scene.take() == []
    await scene.turns()
    assert scene.take() == ["wait"]


@scene
async def test_long_data_is_cut_into_messages(scene: Scene) -> None:
    data = bytes(range(256)) * (MESSAGE_BYTES // 128) + b"x"
    scene.connection.outputs.append(Transmit(data))
    scene.driver.wake()
    await scene.turns()
    assert [len(each) for each in scene.websocket.sent] == [MESSAGE_BYTES, MESSAGE_BYTES, 1]
    assert b"".join(scene.websocket.sent) == data
    assert scene.take() == ["wait", "sent", "wait"]


@scene
async def test_a_deadline_is_polled_for_also_where_it_is_earlier_than_the_last_one(scene: Scene) -> None:
    loop = asyncio.get_running_loop()
    scene.connection.deadlines.append(loop.time() + 3600.0)
    scene.driver.wake()
    await scene.turns()
    assert scene.take() == ["wait"]
    scene.connection.deadlines.append(loop.time())
    scene.driver.wake()
    await scene.turns()
    assert scene.take() == ["wait", "wait"]
    assert scene.driver._alarm is None


@scene
async def test_a_later_deadline_leaves_the_timer_alone(scene: Scene) -> None:
    loop = asyncio.get_running_loop()
    timers = []
    for seconds in (1000.0, 2000.0, 500.0):
        scene.connection.deadlines.append(loop.time() + seconds)
        scene.driver.wake()
        await scene.turns()
        timers.append(cast("asyncio.TimerHandle | None", scene.driver._alarm))
    first, second, third = timers
    assert first is second
    assert first is not third
    assert first is not None
    assert first.cancelled()
    await scene.end()
    assert third is not None
    assert third.cancelled()


@scene
async def test_a_close_comes_behind_what_is_written(scene: Scene) -> None:
    scene.connection.outputs += [Transmit(b"last"), Disconnect(4400, "WHY", abort=False)]
    scene.driver.wake()
    await scene.running
    assert scene.websocket.sent == [b"last"]
    assert scene.log[:4] == ["wait", "sent", "wait", "close 4400 WHY"]


@scene
async def test_an_abort_waits_for_nothing(scene: Scene) -> None:
    scene.websocket.gate.clear()
    scene.connection.outputs += [Transmit(b"never"), Disconnect(4417, "SILENT", abort=True)]
    scene.driver.wake()
    await scene.turns()
    assert scene.take() == ["abort", "wait"]
    assert scene.websocket.sent == []


@scene
async def test_a_text_message_ends_it(scene: Scene) -> None:
    scene.websocket.incoming.put_nowait("text")
    await scene.running
    assert "close 1003 binary messages only" in scene.log


@scene
async def test_stopping_the_driver_cuts_the_transport(scene: Scene) -> None:
    scene.websocket.gate.clear()
    scene.connection.outputs.append(Transmit(b"never"))
    scene.driver.wake()
    await scene.turns()
    scene.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scene.running
    assert scene.log == ["wait", "abort", "eof", "wait"]
