"""What calls cost the event loop: which of them take a task, and what is said of one that blocks it."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Coroutine
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from ratatoskr import PAYMENT_AUTHORIZE, Limits, OutcomeUnknown
from ratatoskr.service import Call, Next, Router
from ratatoskr_websockets import Server
from tests.scenarios.websockets.rest import Recording, at_rest, until
from tests.scenarios.websockets.world import CALL_BACK, COUNT, DOUBLE, ECHO, HOLD, World, echo_router, payment

EAGER = sys.version_info >= (3, 12)


def record(server: Server) -> Recording:
    server._reception._workshop.bench.tasks = recording = Recording()
    return recording


@pytest.mark.parametrize("calls", [1, 50])
async def test_a_handler_that_waits_for_nothing_takes_no_task_where_tasks_are_eager(world: World, calls: int) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        tasks = record(server)
        texts = [b"%d" % n for n in range(calls)]
        answers = await asyncio.gather(*(peer.request(ECHO, BytesValue(value=text)) for text in texts))
        assert [answer.value for answer in answers] == texts
        assert tasks.added == (0 if EAGER else calls)
        assert not tasks
        await at_rest(peer, server.peers[0])


async def test_a_stream_that_fits_into_its_credit_takes_no_task_where_tasks_are_eager(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        tasks = record(server)
        async with peer.stream(COUNT, BytesValue(value=b"7"), credit=8) as items:
            assert len([item async for item in items]) == 7
        assert tasks.added == (0 if EAGER else 1)


@pytest.mark.parametrize(
    ("kind", "key"), [(HOLD, None), (DOUBLE, "k"), (CALL_BACK, None)], ids=["unary", "once", "asks back"]
)
async def test_a_handler_that_waits_takes_one_task_which_ends_with_it(world: World, kind: Any, key: str | None) -> None:
    async with world.serve() as server, world.connect(server, router=echo_router()) as peer:
        tasks = record(server)
        call = asyncio.create_task(peer.request(kind, BytesValue(value=b"k"), key=key))
        await until(lambda: tasks.added)
        world.release.set()
        await call
        await at_rest(peer, server.peers[0])
        assert tasks.added == 1
        assert not tasks


async def test_an_eager_handler_is_a_task_of_its_own(world: World) -> None:
    """It has timeouts of its own, from its first step on."""
    router, seen = Router(), list[Any]()

    @router.on(ECHO)
    async def echo(message: BytesValue, call: Call) -> BytesValue:
        seen.append(asyncio.current_task())
        return message

    @router.on(HOLD)
    async def hold(message: BytesValue, call: Call) -> BytesValue:
        seen.append(asyncio.current_task())
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
        raise AssertionError

    async with world.serve(router) as server, world.connect(server) as peer:
        assert (await peer.request(ECHO, BytesValue(value=b"x"))).value == b"x"
        with pytest.raises(Exception, match="INTERNAL"):
            await peer.request(HOLD, BytesValue())
        first, second = seen
        assert first is not second
        assert {first, second}.isdisjoint({asyncio.current_task(), None})
        await at_rest(peer, server.peers[0])


async def test_an_eager_handler_that_cancels_itself_ends_its_call(world: World) -> None:
    router = Router()

    @router.on(ECHO)
    async def echo(message: BytesValue, call: Call) -> BytesValue:
        raise asyncio.CancelledError

    async with world.serve(router) as server, world.connect(server) as peer:
        with pytest.raises(OutcomeUnknown, match="stopped before it was done"):
            await peer.request(ECHO, BytesValue())
        await at_rest(peer, server.peers[0])


async def test_a_handler_may_close_its_own_line(world: World) -> None:
    """Eager or not: it runs where events are told, and takes part in what it brings about."""
    router = Router()

    @router.on(ECHO)
    async def echo(message: BytesValue, call: Call) -> BytesValue:
        peer = server.find(call.peer.subject)
        assert peer is not None
        await peer.close(drain=False)
        raise AssertionError

    async with world.serve(router) as server, world.connect(server) as peer:
        with pytest.raises(OutcomeUnknown):
            await peer.request(ECHO, BytesValue())
        await peer.wait_closed()


async def test_payments_begin_first_of_what_comes_together(world: World) -> None:
    """Sixteen notes and a payment go out in one flight, which is read as one."""
    order: list[str] = []
    router = world.router()

    @router.middleware
    async def note(call: Call, message: Any, call_next: Next) -> Any:
        order.append(call.kind.name)
        return await call_next(message)

    async with world.serve(router) as server, world.connect(server) as peer:
        calls: list[Coroutine[Any, Any, Any]] = [peer.request(ECHO, BytesValue()) for _ in range(15)]
        await asyncio.gather(*calls, peer.request(PAYMENT_AUTHORIZE, payment()))
        await at_rest(peer, server.peers[0])
    assert order == ["PAYMENT_AUTHORIZE"] + ["ECHO"] * 15


async def test_a_blocked_event_loop_is_logged_and_ends_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.limits = Limits(heartbeat_interval=0.02, liveness_timeout=5.0, control_rate=1000.0)
    router = world.router()

    @router.middleware
    async def block(call: Call, message: Any, call_next: Next) -> Any:
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.15
        while message.value == b"block" and loop.time() < end:
            pass
        return await call_next(message)

    async with world.serve(router) as server, world.connect(server) as peer:
        assert (await peer.request(ECHO, BytesValue(value=b"block"))).value == b"block"
        assert (await peer.request(ECHO, BytesValue(value=b"x"))).value == b"x"
        await at_rest(peer, server.peers[0])
    stalls = [line for line in caplog.messages if line.startswith("stalled:")]
    assert stalls
    for line in stalls:
        assert re.fullmatch(r"stalled: the event loop was blocked for \d+\.\d s; 127\.0\.0\.1:\d+ had to wait", line), (
            line
        )
    assert peer.closed is not None
    assert peer.closed.clean
