"""A device asks the platform, which asks a provider, which asks back: by name, in the time that the device waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from ratatoskr import CallError, CallFailed, CallRefused, Disposition, Fail, OutcomeUnknown, Status
from ratatoskr.service import Call, Router
from ratatoskr_websockets import Peer, Server
from tests.scenarios.websockets.rest import at_rest, until
from tests.scenarios.websockets.world import CALL_BACK, COUNT, ECHO, HOLD, World, echo_router


class Chain:
    """A platform that passes calls on to shop-7, and both of them connected to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.remaining: list[float] = []
        self.device = Router()
        self.platform = Router()
        self.provider = world.router()

        @self.platform.on(HOLD)
        async def hold(message: BytesValue, call: Call) -> BytesValue:
            self.remaining.append(call.remaining())
            return await call.reach("shop-7").request(HOLD, message)

        @self.platform.on(COUNT)
        async def count(message: BytesValue, call: Call) -> AsyncGenerator[BytesValue, None]:
            async with call.reach("shop-7").stream(COUNT, message, credit=2) as items:
                async for item in items:
                    yield item

        @self.platform.on(ECHO)
        async def echo(message: BytesValue, call: Call) -> BytesValue:
            self.remaining.append(call.remaining())
            return await call.reach(message.value.decode()).request(CALL_BACK, message)

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[tuple[Server, Peer, Peer]]:
        world = self.world
        shop = world.client_config(world.authority.provider("shop-7"))
        async with (
            world.serve(self.platform) as server,
            world.connect(server, router=self.device) as device,
            world.connect(server, shop, router=self.provider) as provider,
        ):
            yield server, device, provider
            await at_rest(device, provider, *server.peers)


@pytest.fixture
def chain(world: World) -> Chain:
    return Chain(world)


async def test_each_call_of_a_chain_has_what_is_left_of_the_first_one_s_time(chain: Chain) -> None:
    """Device, platform, provider, platform again, and back to the device."""
    chain.provider = Router()

    @chain.provider.on(CALL_BACK)
    async def call_back(message: BytesValue, call: Call) -> BytesValue:
        chain.remaining.append(call.remaining())
        return await call.request(ECHO, BytesValue(value=b"device-1"), timeout=60.0)

    @chain.device.on(CALL_BACK)
    async def at_home(message: BytesValue, call: Call) -> BytesValue:
        chain.remaining.append(call.remaining())
        return BytesValue(value=b"from " + message.value)

    async with chain() as (_, device, _):
        answer = await device.request(ECHO, BytesValue(value=b"shop-7"), timeout=5.0)
        assert answer.value == b"from device-1"
    assert len(chain.remaining) == 4
    assert chain.remaining[0] <= 5.0
    for before, after in pairwise(chain.remaining):
        assert 0 < after <= before + 0.001, "a hop says milliseconds"


async def test_when_the_device_s_time_is_over_nobody_goes_on(chain: Chain, world: World) -> None:
    async with chain() as (_, device, _):
        with pytest.raises(OutcomeUnknown) as caught:
            await device.request(HOLD, BytesValue(), timeout=0.05)
        assert caught.value.failure.status is Status.DEADLINE_EXCEEDED
        await world.cancelled.wait()
    assert 0 < chain.remaining[0] <= 0.05


async def test_when_the_device_gives_up_nobody_goes_on(chain: Chain, world: World) -> None:
    async with chain() as (_, device, _):
        call = asyncio.create_task(device.request(HOLD, BytesValue()))
        await world.arrived.wait()
        call.cancel()
        await world.cancelled.wait()


async def test_a_stream_is_passed_on_and_leaving_it_stops_it_at_its_source(chain: Chain, world: World) -> None:
    async with chain() as (_, device, _):
        async with device.stream(COUNT, BytesValue(value=b"50"), credit=3) as items:
            assert [item.value async for item in items] == [b"%d" % n for n in range(1, 51)]
        async with device.stream(COUNT, BytesValue(), credit=3) as items:
            await anext(items)
        await until(lambda: world.counts["stopped"])
    assert world.counts == {"done": 1, "stopped": 1}
    assert world.made <= 50 + 12, "what the credits of both ways allow"


async def test_when_the_provider_goes_away_the_platform_s_handler_hears_of_it(chain: Chain, world: World) -> None:
    async with chain() as (server, device, provider):
        call = asyncio.create_task(device.request(HOLD, BytesValue()))
        await world.arrived.wait()
        await provider.close(drain=False)
        with pytest.raises(CallFailed, match="INTERNAL"):
            await call
        await until(lambda: server.find("shop-7") is None)


async def test_who_is_not_connected_is_surely_not_asked(world: World) -> None:
    router = Router()

    @router.on(ECHO)
    async def echo(message: BytesValue, call: Call) -> BytesValue:
        try:
            return await call.reach("shop-7").request(ECHO, message)
        except CallRefused as refused:
            raise Fail(Status.UNAVAILABLE, "SHOP_CLOSED", refused.failure.reason) from None

    shop = world.client_config(world.authority.provider("shop-7"))
    async with world.serve(router) as server, world.connect(server) as device:
        with pytest.raises(CallFailed, match="SHOP_CLOSED: NOT_CONNECTED"):
            await device.request(ECHO, BytesValue())
        async with world.connect(server, shop, router=echo_router()) as provider:
            assert (await device.request(ECHO, BytesValue(value=b"x"))).value == b"x"
            await provider.close()
            with pytest.raises(CallFailed, match="SHOP_CLOSED: NOT_CONNECTED"):
                await device.request(ECHO, BytesValue())
        await at_rest(device)


async def test_a_client_s_handlers_reach_nobody_but_who_asks(world: World, caplog: pytest.LogCaptureFixture) -> None:
    router = Router()

    @router.on(ECHO)
    async def echo(message: BytesValue, call: Call) -> BytesValue:
        return await call.reach("shop-7").request(ECHO, message)

    async with world.serve() as server, world.connect(server, router=router):
        with pytest.raises(CallFailed, match="INTERNAL"):
            await server.peers[0].request(ECHO, BytesValue())
    assert "only a server's handlers reach other peers" in caplog.text


# The server by itself


async def test_the_server_asks_whom_it_finds_and_learns_of_their_end(world: World) -> None:
    async with world.serve() as server, world.connect(server, router=world.router()) as peer:
        found = server.find("device-1")
        assert found is not None
        assert found.peer.subject == "device-1"
        assert (await found.request(ECHO, BytesValue(value=b"x"))).value == b"x"
        async with found.stream(COUNT, BytesValue(value=b"5")) as items:
            assert len([item async for item in items]) == 5
        call = asyncio.create_task(found.request(HOLD, BytesValue()))
        await world.arrived.wait()
        assert server.find("device-2") is None
        await peer.close(drain=False)
        with pytest.raises(OutcomeUnknown):
            await call
        assert server.find("device-1") is None
        with pytest.raises(CallRefused, match="connect again"):
            await found.request(ECHO, BytesValue())


async def test_a_push_to_everybody_reaches_everybody_who_is_there(world: World) -> None:
    async def client(number: int) -> None:
        config = world.client_config(world.authority.device(f"till-{number}"))
        async with world.connect(server, config, router=echo_router()) as peer:
            await peer.wait_going_away()

    async with world.serve(per_address=100) as server:
        clients = [asyncio.create_task(client(number)) for number in range(10)]
        await until(lambda: len(server.peers) == 10)
        answers = await asyncio.gather(
            *(each.request(ECHO, BytesValue(value=each.peer.subject.encode())) for each in server.peers)
        )
        assert {answer.value for answer in answers} == {b"till-%d" % number for number in range(10)}
    await asyncio.gather(*clients)


# Going away


async def test_calls_that_are_open_complete_when_the_server_goes_away(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        before = peer.going_away
        leaving = asyncio.create_task(peer.wait_going_away())
        calls = [asyncio.create_task(peer.request(HOLD, BytesValue(value=b"%d" % n))) for n in range(20)]
        await world.arrived.wait()
        closing = asyncio.create_task(server.close())
        await leaving
        assert (before, peer.going_away, peer.closed) == (False, True, None)
        with pytest.raises(CallRefused, match="GOING_AWAY") as caught:
            await peer.request(ECHO, BytesValue())
        assert caught.value.failure.disposition is Disposition.NOT_PROCESSED
        assert not any(call.done() for call in calls)
        world.release.set()
        assert [(await call).value for call in calls] == [b"%d%d" % (n, n) for n in range(20)]
        await closing
        assert (await peer.wait_closed()).clean
        await peer.wait_going_away()


async def test_a_handler_that_asks_back_while_the_line_drains_is_refused(world: World) -> None:
    """Nothing new goes either way. The call itself completes."""
    router = Router()

    @router.on(HOLD)
    async def hold(message: BytesValue, call: Call) -> BytesValue:
        world.arrived.set()
        await world.release.wait()
        try:
            await call.request(ECHO, message)
        except CallError as error:
            return BytesValue(value=error.failure.reason.encode())
        raise AssertionError

    async with world.serve(router) as server, world.connect(server, router=echo_router()) as peer:
        call = asyncio.create_task(peer.request(HOLD, BytesValue()))
        await world.arrived.wait()
        closing = asyncio.create_task(peer.close())
        await until(lambda: server.peers[0].going_away)
        world.release.set()
        assert (await call).value == b"GOING_AWAY"
        assert (await closing).clean
