"""Calls both ways over a real WebSocket, and what a caller learns."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from ratatoskr import (
    MARKETPLACE_SEARCH,
    PAYMENT_AUTHORIZE,
    STANDARD_KINDS,
    CallFailed,
    CallRefused,
    Disposition,
    Fault,
    Limits,
    LocalProtocolError,
    OutcomeUnknown,
    ReceiptRefused,
    Role,
    Status,
)
from ratatoskr.service import Call, Router
from ratatoskr.v1 import Search
from ratatoskr_websockets import connect
from tests.scenarios.websockets.rest import until
from tests.scenarios.websockets.world import CALL_BACK, DOUBLE, ECHO, HOLD, Relay, World, echo_router, payment


async def test_a_device_pays_and_holds_a_receipt(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        assert (peer.peer.subject, peer.peer.role) == ("127.0.0.1", Role.SERVER)
        assert len(peer.session_id) == 32
        assert peer.address == f"127.0.0.1:{server.port}"
        assert repr(peer) == f"<Peer 127.0.0.1 at {peer.address}, OPEN>"
        exchange = await peer.exchange(PAYMENT_AUTHORIZE, payment())
        assert exchange.message.amount.units == 10
        assert not exchange.replayed
        receipt = exchange.receipt()
        assert receipt is not None
        receipt.verify(peer.peer.verify_key)
        assert receipt.session_id == peer.session_id
        assert await peer.receipt(exchange) == receipt
    assert peer.closed is not None
    assert peer.closed.clean
    assert {record.name for record in caplog.records} == {"ratatoskr.websockets"}
    assert any(line.startswith("opened: device-1 (DEVICE) at 127.0.0.1:") for line in caplog.messages)
    assert any(line.startswith("closed: device-1 (DEVICE) at 127.0.0.1:") for line in caplog.messages)
    assert "e2e-1" not in caplog.text


async def test_the_answer_of_a_deferred_kind_is_proved_when_its_seal_comes(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        exchange = await peer.exchange(MARKETPLACE_SEARCH, Search(query="seeds"))
        assert exchange.message.next_page_token == b"seeds"
        assert exchange.receipt() is None
        (await peer.receipt(exchange)).verify(peer.peer.verify_key)


async def test_without_its_seal_an_answer_has_no_receipt(world: World) -> None:
    world.limits = Limits(seal_delay=60.0)
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        connect(relay.url, world.client_config(), proxy=None) as peer,
    ):
        exchange = await peer.exchange(MARKETPLACE_SEARCH, Search(query="seeds"))
        waiting = asyncio.create_task(peer.receipt(exchange))
        await asyncio.sleep(0)
        relay.cut()
        with pytest.raises(ReceiptRefused, match="ended before the peer sealed"):
            await waiting


async def test_a_handler_calls_the_caller_back(world: World) -> None:
    counter: Counter[str] = Counter()
    async with world.serve() as server, world.connect(server, router=echo_router(counter)) as peer:
        answer = await peer.request(CALL_BACK, BytesValue(value=b"x"))
        assert answer.value == b"x"
    assert counter == {"127.0.0.1": 1}


async def test_the_server_calls_a_client_that_it_finds_by_subject(world: World) -> None:
    async with world.serve() as server:
        async with (
            world.connect(server, world.client_config(world.authority.device("shop-7")), router=echo_router()) as peer,
            world.connect(server, world.client_config(world.authority.device("shop-8"))),
        ):
            found = server.find("shop-7")
            assert found is not None
            assert found.session_id == peer.session_id
            assert (await found.request(ECHO, BytesValue(value=b"hello"))).value == b"hello"
            assert [each.peer.subject for each in server.peers] == ["shop-7", "shop-8"]
            assert server.find("shop-7", tenant="other") is None
        await until(lambda: server.find("shop-7") is None)
        assert server.peers == ()


async def test_the_latest_connection_of_a_subject_is_found(world: World) -> None:
    config = world.client_config()
    async with world.serve() as server, world.connect(server, config), world.connect(server, config) as second:
        found = server.find("device-1")
        assert found is not None
        assert found.session_id == second.session_id


async def test_the_round_trip_is_known_from_the_handshake_on(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        for end in (peer, server.peers[0]):
            assert end.round_trip is not None
            assert 0 < end.round_trip < 10


async def test_metadata_reaches_the_handler(world: World) -> None:
    router = Router()

    @router.on(ECHO)
    async def echo(message: BytesValue, call: Call) -> BytesValue:
        return BytesValue(value=call.metadata["colour"].encode())

    async with world.serve(router) as server, world.connect(server) as peer:
        assert (await peer.request(ECHO, BytesValue(), metadata={"colour": "red"})).value == b"red"


async def test_kinds_of_the_router_are_known_without_naming_them_twice(world: World) -> None:
    config = world.server_config(kinds=STANDARD_KINDS)
    async with world.serve(echo_router(), config) as server, world.connect(server) as peer:
        assert (await peer.request(ECHO, BytesValue(value=b"x"))).value == b"x"


async def test_a_refusal_of_the_handler_is_the_answer(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        with pytest.raises(CallFailed) as caught:
            await peer.request(PAYMENT_AUTHORIZE, payment(units=5000))
        assert caught.value.failure.reason == "INSUFFICIENT_FUNDS"


async def test_a_kind_without_a_handler_is_surely_not_processed(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        found = server.peers[0]
        with pytest.raises(CallRefused, match=r"no handler for 1000/1 \(ECHO\); this client handles 0 kinds"):
            await found.request(ECHO, BytesValue())
        assert (await peer.request(ECHO, BytesValue(value=b"x"))).value == b"x"


async def test_a_payload_that_breaks_the_schema_is_refused_with_the_field(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        message = payment()
        message.debtor_account = ""
        with pytest.raises(CallRefused, match="debtor_account"):
            await peer.request(PAYMENT_AUTHORIZE, message)
    assert not world.executed


async def test_a_crashing_handler_ends_its_call_alone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    router = echo_router()

    @router.on(HOLD)
    async def crash(message: BytesValue, call: Call) -> BytesValue:
        raise ZeroDivisionError("a secret: 4711")

    async with world.serve(router) as server, world.connect(server) as peer:
        with pytest.raises(CallFailed) as caught:
            await peer.request(HOLD, BytesValue())
        failure = caught.value.failure
        assert (failure.status, failure.reason) == (Status.INTERNAL, "INTERNAL")
        assert "4711" not in failure.message
        assert (await peer.request(ECHO, BytesValue(value=b"x"))).value == b"x"
    reference = failure.message.partition("ref ")[2].rstrip(")")
    assert any(reference in record.getMessage() and record.exc_info for record in caplog.records)


async def test_a_blocking_handler_runs_in_a_thread(world: World) -> None:
    router = Router()

    @router.on(ECHO, thread=True)
    def echo(message: BytesValue, call: Call) -> BytesValue:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return message

    async with world.serve(router) as server, world.connect(server) as peer:
        assert (await peer.request(ECHO, BytesValue(value=b"x"))).value == b"x"


async def test_a_timed_out_call_may_have_been_processed_and_its_handler_is_stopped(world: World) -> None:
    """In time: long before any other deadline."""
    async with world.serve() as server, world.connect(server) as peer, asyncio.timeout(5):
        with pytest.raises(OutcomeUnknown) as caught:
            await peer.request(HOLD, BytesValue(), timeout=0.05)
        assert caught.value.failure.status is Status.DEADLINE_EXCEEDED
        await world.cancelled.wait()


async def test_a_handler_that_runs_once_is_not_stopped_by_a_timeout(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        with pytest.raises(OutcomeUnknown):
            await peer.request(DOUBLE, BytesValue(value=b"k"), key="k", timeout=0.05)
        again = asyncio.create_task(peer.exchange(DOUBLE, BytesValue(value=b"k"), key="k"))
        await world.arrived.wait()
        world.release.set()
        assert (await again).message.value == b"kk"
    assert world.executed == {"k": 1}
    assert not world.cancelled.is_set()


async def test_a_cancelled_request_costs_nobody_else(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        first = asyncio.create_task(peer.request(HOLD, BytesValue(value=b"a")))
        second = asyncio.create_task(peer.request(HOLD, BytesValue(value=b"b")))
        await world.arrived.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        world.release.set()
        assert (await second).value == b"bb"
        assert (await peer.request(ECHO, BytesValue(value=b"x"))).value == b"x"


async def test_cancelling_at_every_turn_of_the_loop_loses_nothing(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        for turns in range(40):
            victim = asyncio.create_task(peer.request(ECHO, BytesValue(value=b"v")))
            others = [asyncio.create_task(peer.request(ECHO, BytesValue(value=b"%d" % n))) for n in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0)
            victim.cancel()
            assert [answer.value for answer in await asyncio.gather(*others)] == [b"0", b"1", b"2"]


async def test_an_outcome_that_meets_a_cancellation_is_dropped(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        call = asyncio.create_task(peer.request(HOLD, BytesValue()))
        await world.arrived.wait()
        closing = asyncio.create_task(peer.close(drain=False))
        await asyncio.sleep(0)  # the poll is due, which ends the call
        call.cancel()
        assert (await closing).fault is Fault.ABANDONED
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_full_queue_is_waited_for(world: World) -> None:
    world.limits = Limits(requests_open=2, requests_queued=2)
    async with world.serve() as server, world.connect(server) as peer:
        answers = await asyncio.gather(*(peer.request(ECHO, BytesValue(value=b"%d" % n)) for n in range(50)))
        assert [answer.value for answer in answers] == [b"%d" % n for n in range(50)]


async def test_who_waits_for_a_place_learns_of_the_end(world: World) -> None:
    world.limits = Limits(requests_open=1, requests_queued=1, drain_timeout=0.1)
    async with world.serve() as server, world.connect(server) as peer:
        calls = [asyncio.create_task(peer.request(HOLD, BytesValue())) for _ in range(4)]
        await world.arrived.wait()
        await peer.close(drain=False)
        failed = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in failed] == [OutcomeUnknown, CallRefused, CallRefused, CallRefused]


async def test_a_closed_connection_refuses_calls_and_says_what_to_do(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        await peer.close()
        with pytest.raises(CallRefused, match="connect again") as caught:
            await peer.request(ECHO, BytesValue())
        assert caught.value.failure.disposition is Disposition.NOT_PROCESSED
        assert caught.value.failure.reason == Fault.CLEAN.name


async def test_misuse_says_what_to_do(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        with pytest.raises(LocalProtocolError, match="needs a key"):
            await peer.request(DOUBLE, BytesValue())
        with pytest.raises(LocalProtocolError, match="ECHO takes a BytesValue; this is a Search"):
            await peer.request(ECHO, Search())  # type: ignore[misc]
        assert (await peer.request(ECHO, BytesValue(value=b"x"))).value == b"x"


async def test_requests_of_one_turn_share_a_signature(world: World) -> None:
    """One flight, one seal: their receipts carry the same signature. More than 16 share out among several flights."""
    async with world.serve() as server, world.connect(server) as peer:
        world.release.set()
        keys = [f"k{n}" for n in range(16)]
        exchanges = await asyncio.gather(
            *(peer.exchange(DOUBLE, BytesValue(value=key.encode()), key=key) for key in keys)
        )
        receipts = [exchange.receipt() for exchange in exchanges]
        assert len({receipt.signature for receipt in receipts if receipt}) == 1


async def test_a_place_that_a_timeout_frees_is_taken(world: World) -> None:
    world.limits = Limits(requests_open=1, requests_queued=1)
    async with world.serve() as server, world.connect(server) as peer:
        holding = asyncio.create_task(peer.request(HOLD, BytesValue(value=b"h")))
        await world.arrived.wait()
        queued = asyncio.create_task(peer.request(ECHO, BytesValue(), timeout=0.05))
        waiting = asyncio.create_task(peer.request(ECHO, BytesValue(), timeout=0.06))
        with pytest.raises(CallRefused, match="TIMEOUT"):
            await queued
        with pytest.raises(CallRefused, match="TIMEOUT"):
            await waiting
        world.release.set()
        assert (await holding).value == b"hh"
