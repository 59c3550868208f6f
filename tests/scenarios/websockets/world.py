"""A platform and its clients on loopback sockets, for scenarios."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Self

from google.protobuf.wrappers_pb2 import BytesValue

from ratatoskr import (
    MARKETPLACE_SEARCH,
    PAYMENT_AUTHORIZE,
    STANDARD_KINDS,
    Config,
    Fail,
    Identity,
    Kind,
    Limits,
    Status,
)
from ratatoskr.service import Call, Router
from ratatoskr.testing import Authority
from ratatoskr.v1 import (
    AuthorizePayment,
    Money,
    PaymentAuthorized,
    PaymentStatus,
    Search,
    SearchResult,
)
from ratatoskr_websockets import Peer, Server, connect, serve

ECHO = Kind(1000, 1, "ECHO", BytesValue, BytesValue, sealed=False)
"""Answered with what was asked."""
HOLD = Kind(1000, 2, "HOLD", BytesValue, BytesValue, sealed=False)
"""Answered when the test says so."""
CALL_BACK = Kind(1000, 3, "CALL_BACK", BytesValue, BytesValue, sealed=False)
"""Answered with what the caller answers to ECHO."""
DOUBLE = Kind(1000, 4, "DOUBLE", BytesValue, BytesValue, once=True)
"""Sealed, and at most once, and answered when the test says so."""
COUNT = Kind(1000, 5, "COUNT", BytesValue, BytesValue, sealed=False, stream=True)
"""A stream of so many numbers, or of numbers without end where nothing is asked for."""
KINDS = STANDARD_KINDS | [ECHO, HOLD, CALL_BACK, DOUBLE, COUNT]

FUNDS = 1000


class World:
    """One authority, one platform that counts what it executes, and as many clients as you like."""

    def __init__(self) -> None:
        self.authority = Authority(os.urandom(8).hex(), now=time.time())
        self.limits = Limits()
        self.executed: Counter[str] = Counter()
        """How often each payment was executed."""
        self.arrived = asyncio.Event()
        """Set when a HOLD or DOUBLE handler runs."""
        self.release = asyncio.Event()
        """Lets the handlers of HOLD and DOUBLE go on."""
        self.cancelled = asyncio.Event()
        """Set when a HOLD or DOUBLE handler was cancelled."""
        self.made = 0
        """Items that COUNT handlers have made, at all ends."""
        self.servers: list[Server] = []
        """Those that were made, of which nothing is to be left."""
        self.counts: Counter[str] = Counter()
        """How the COUNT handlers ended: "done", or "stopped"."""

    # Who is who

    def server_config(self, **changes: Any) -> Config:
        config = self.authority.server_config("127.0.0.1", "localhost", entropy=os.urandom, kinds=KINDS)
        return replace(config, **{"limits": self.limits, **changes})

    def client_config(self, identity: Identity | None = None, **changes: Any) -> Config:
        config = self.authority.client_config(identity, entropy=os.urandom, kinds=KINDS)
        return replace(config, **{"limits": self.limits, **changes})

    # Both ends

    def serve(self, router: Router | None = None, config: Config | None = None, **options: Any) -> Server:
        options = {"host": "127.0.0.1", **options}
        server = serve(router or self.router(), config or self.server_config(), **options)
        self.servers.append(server)
        return server

    def connect(
        self, server: Server, config: Config | None = None, **options: Any
    ) -> AbstractAsyncContextManager[Peer]:
        return self.connect_to(url(server), config, **options)

    def connect_to(self, url: str, config: Config | None = None, **options: Any) -> AbstractAsyncContextManager[Peer]:
        return connect(url, config or self.client_config(), proxy=None, **options)

    # What the platform does

    def router(self) -> Router:
        router = Router()

        @router.on(MARKETPLACE_SEARCH)
        async def search(message: Search, call: Call) -> SearchResult:
            return SearchResult(next_page_token=message.query.encode())

        @router.on(PAYMENT_AUTHORIZE)
        async def authorize(message: AuthorizePayment, call: Call) -> PaymentAuthorized:
            self.executed[message.end_to_end_id] += 1
            await asyncio.sleep(0)  # lets duplicates in
            if message.amount.units > FUNDS:
                raise Fail(Status.FAILED_PRECONDITION, "INSUFFICIENT_FUNDS")
            return PaymentAuthorized(
                payment_id=f"p-{self.executed.total()}",
                end_to_end_id=message.end_to_end_id,
                status=PaymentStatus.PAYMENT_STATUS_AUTHORIZED,
                amount=message.amount,
                authorized_until_ms=1,
            )

        @router.on(ECHO)
        async def echo(message: BytesValue, call: Call) -> BytesValue:
            return message

        @router.on(HOLD)
        async def hold(message: BytesValue, call: Call) -> BytesValue:
            return await self._hold(message)

        @router.on(DOUBLE)
        async def double(message: BytesValue, call: Call) -> BytesValue:
            self.executed[message.value.decode()] += 1
            return await self._hold(message)

        @router.on(CALL_BACK)
        async def call_back(message: BytesValue, call: Call) -> BytesValue:
            return await call.request(ECHO, message)

        router.include(self.counting())
        return router

    def counting(self, item: bytes = b"") -> Router:
        """What counts, at either end. ``item`` is sent with each number."""
        router = Router()

        @router.on(COUNT)
        async def count(message: BytesValue, call: Call) -> AsyncGenerator[BytesValue, None]:
            last, number, end = int(message.value or 0), 0, "stopped"
            try:
                while not last or number < last:
                    number += 1
                    self.made += 1
                    yield BytesValue(value=b"%d" % number + item)
                end = "done"
            finally:
                self.counts[end] += 1

        return router

    async def _hold(self, message: BytesValue) -> BytesValue:
        self.arrived.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return BytesValue(value=message.value * 2)


def url(server: Server, scheme: str = "ws") -> str:
    return f"{scheme}://127.0.0.1:{server.port}"


def word(text: str) -> BytesValue:
    return BytesValue(value=text.encode())


def payment(key: str = "e2e-1", units: int = 10) -> AuthorizePayment:
    return AuthorizePayment(
        end_to_end_id=key,
        debtor_account="DE-1",
        creditor_account="DE-2",
        amount=Money(currency="EUR", units=units),
    )


def echo_router(counter: Counter[str] | None = None) -> Router:
    """What a client answers."""
    router = Router()

    @router.on(ECHO)
    async def echo(message: BytesValue, call: Call) -> BytesValue:
        if counter is not None:
            counter[call.peer.subject] += 1
        return message

    return router


class Relay:
    """A TCP relay to a server, which can stop and can cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open = True
        self._silent: set[asyncio.StreamWriter] = set()
        self.connections = 0
        """Clients that were let in."""
        self.refused = 0
        """Clients that were not."""
        self._writers: list[asyncio.StreamWriter] = []
        self._clients: list[asyncio.StreamWriter] = []
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go_on()
        self.cut()
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """End all connections without a word."""
        for writer in self._writers:
            writer.transport.abort()

    def cut_client(self) -> None:
        """End the clients' sides alone: the server notices nothing."""
        self._silent.update(self._writers)
        for writer in self._clients:
            writer.transport.abort()

    def refuse(self) -> None:
        """Let nobody in any more."""
        self._open = False

    def let_in(self) -> None:
        """Let everybody in again."""
        self._open = True

    def lead_to(self, port: int) -> None:
        """Let whoever comes from now on come to another server."""
        self._target = port

    def stop(self) -> None:
        """Pass nothing on any more."""
        self._flowing.clear()

    def go_on(self) -> None:
        """Pass on what has come meanwhile, and what comes."""
        self._flowing.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            self.refused += 1
            writer.transport.abort()
            return
        self.connections += 1
        try:
            there = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # it leads to nobody
            writer.transport.abort()
            return
        self._writers += [writer, there[1]]
        self._clients.append(writer)
        await asyncio.gather(self._copy(reader, there[1]), self._copy(there[0], writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            if writer not in self._silent:
                writer.close()
