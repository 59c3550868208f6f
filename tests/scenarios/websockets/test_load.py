"""Much at once, both ways: nobody waits for ever, and nothing is lost."""

from __future__ import annotations

import asyncio

from google.protobuf.wrappers_pb2 import BytesValue

from ratatoskr_websockets import Peer
from tests.scenarios.websockets.world import ECHO, World, echo_router

REQUESTS = 120
SIZE = 200_000


async def test_two_peers_that_both_ask_much_at_once_finish(world: World) -> None:
    """A driver that does not read while a write blocks ends here: each waits for the other to read."""

    async def ask(peer: Peer, mark: int) -> None:
        payloads = [bytes([mark, n]) * (SIZE // 2) for n in range(REQUESTS)]
        answers = await asyncio.gather(
            *(peer.request(ECHO, BytesValue(value=payload), timeout=60) for payload in payloads)
        )
        assert [answer.value for answer in answers] == payloads

    async with world.serve() as server, world.connect(server, router=echo_router()) as peer:
        await asyncio.gather(ask(peer, 1), ask(server.peers[0], 2))
    assert peer.closed is not None
    assert peer.closed.clean


async def test_many_clients_at_once(world: World) -> None:
    async def client(number: int) -> None:
        config = world.client_config(world.authority.device(f"shop-{number}"))
        async with world.connect(server, config) as peer:
            text = str(number).encode()
            assert (await peer.request(ECHO, BytesValue(value=text))).value == text

    async with world.serve(per_address=100) as server:
        await asyncio.gather(*(client(number) for number in range(40)))
        assert server.peers == ()
