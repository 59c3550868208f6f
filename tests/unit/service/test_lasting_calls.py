"""Calls that outlive their lines: what goes on without one, and is said over the next one; what becomes of the rest."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import CallError, CallRefused, Disposition, Fail, Fault, OutcomeUnknown, Status
from ratatoskr.events import Closed
from ratatoskr.limits import Limits
from ratatoskr.messages import ReceiptRefused
from ratatoskr.messages.standard import MARKETPLACE_SEARCH
from ratatoskr.service import Call, Exchange, MemoryStore, RetryPolicy, Router
from tests.unit.service.lasting import KEPT, SOON, World
from tests.unit.service.lines import COUNT, Strand
from tests.unit.service.support import NOTE, REDEEM, Gate, ask, echo_router, say
from tests.unit.service.work import Work

RETRIES = RetryPolicy(attempts=4, first_delay=1.0, longest_delay=8.0)


@pytest.fixture
def work() -> Work:
    return Work()


def asked(world: World, text: str = "x", kind: Any = NOTE, **options: Any) -> Strand:
    return world.start(world.calls.exchange(kind, ask(text), **options))


def failure_of(strand: Strand) -> Any:
    assert isinstance(strand.error, CallError)
    return strand.error.failure


# One session, several lines


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("kind", [NOTE, REDEEM])
def test_a_handler_goes_on_without_a_line_and_answers_over_the_next_one(work: Work, kind: Any, eager: bool) -> None:
    world = World(work.router, eager=eager)
    strand = asked(world, kind=kind, key="k" if kind.once else None)
    world.run(1.0)
    world.lose()
    work.gate.open = True
    world.run(1.0)
    assert work.ended == ["x done"]
    assert not strand.is_over()
    world.find_again()
    assert strand.result.message == say("x")
    assert [each.resumed for each in world.opened] == [False, True]
    assert work.begun == ["x"]
    assert world.at_rest()


def test_a_handler_answers_over_the_line_after_the_next(work: Work) -> None:
    world = World(work.router)
    strand = asked(world)
    for _ in range(3):
        world.run(1.0)
        world.lose()
        world.find_again(8.0)
    assert work.ended == []
    work.gate.open = True
    world.run(1.0)
    assert strand.result.message == say("x")
    assert world.at_rest()


def test_a_line_that_only_the_client_knows_to_be_dead_is_replaced(work: Work) -> None:
    world = World(work.router)
    strand = asked(world)
    world.run(1.0)
    old = world.line
    old.cut_client()
    world.run(10.0)
    assert old.server.fault() is Fault.SESSION_REPLACED
    work.gate.open = True
    world.run(1.0)
    assert strand.result.message == say("x")
    assert world.at_rest()


def test_what_is_asked_without_a_line_goes_out_over_the_next_one() -> None:
    world = World(echo_router())
    world.run(1.0)
    world.lose()
    strands = [asked(world, str(n)) for n in range(5)]
    world.run(10.0)
    assert not any(strand.is_over() for strand in strands)
    world.find_again()
    assert [strand.result.message.reason for strand in strands] == list("01234")


def test_the_time_of_calls_runs_without_a_line(work: Work) -> None:
    world = World(work.router)
    sent = asked(world, "sent", timeout=5.0)
    world.run(1.0)
    world.lose()
    queued = asked(world, "queued", timeout=5.0)
    world.run(3.9)
    assert not sent.is_over()
    world.run(0.2)
    assert isinstance(sent.error, OutcomeUnknown)
    assert not queued.is_over()
    world.run(1.0)
    assert isinstance(queued.error, CallRefused)
    assert [failure_of(each).reason for each in (sent, queued)] == ["TIMEOUT"] * 2
    assert work.ended == ["sent stopped"], "whose time is over is stopped, line or not"
    world.find_again()
    assert work.begun == ["sent"], "what nobody waits for any more is not sent"
    assert world.at_rest()


@pytest.mark.parametrize("sent", [False, True])
def test_who_gives_up_without_a_line_leaves_nothing(work: Work, sent: bool) -> None:
    world = World(work.router)
    world.run(1.0)
    strand = asked(world) if sent else None
    world.run(1.0)
    world.lose()
    strand = strand or asked(world)
    strand.cancel()
    world.run(0.1)
    assert len(world.calls._asker.pending) == 0
    world.find_again()
    assert work.begun == (["x"] if sent else [])
    assert work.ended == (["x stopped"] if sent else []), "the cancel went over the next line"
    assert world.at_rest()


def test_a_stream_goes_on_behind_its_last_item_with_what_was_granted_meanwhile() -> None:
    made: list[int] = []
    router = Router()

    @router.on(COUNT)
    async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        for number in range(40):
            made.append(number)
            yield say(str(number))

    world = World(router, limits=Limits(stream_credit=4, stream_credit_ahead=8))
    going = Gate()
    got: list[str] = []

    async def read() -> None:
        async with world.calls.stream(COUNT, ask()) as items:
            async for item in items:
                got.append(item.reason)
                if len(got) == 4:
                    await going

    reader = world.start(read())
    world.run(1.0)
    world.lose()
    going.open = True
    world.run(1.0)
    before = len(got)
    assert before < 10, "there is no line"
    assert len(made) < 20
    world.find_again()
    assert reader.is_over()
    assert reader.error is None
    assert got == [str(number) for number in range(40)]
    assert world.at_rest()


def test_a_stream_that_is_left_without_a_line_is_cancelled_over_the_next_one(work: Work) -> None:
    world = World(work.router)

    async def leave() -> None:
        async with world.calls.stream(COUNT, ask("s")) as items:
            async for _ in items:
                await leaving
                return

    leaving = Gate()
    reader = world.start(leave())
    world.run(1.0)
    world.lose()
    leaving.open = True
    world.run(1.0)
    assert reader.is_over()
    assert work.ended == []
    world.find_again()
    assert work.ended == ["s stopped"]
    assert world.at_rest()


def test_the_server_s_calls_to_its_client_wait_for_the_next_line_too(work: Work) -> None:
    world = World(answers=work.router)
    world.run(1.0)
    under_way = world.start(world.server.exchange(NOTE, ask("under way")))
    world.run(1.0)
    world.lose()
    made = world.start(world.server.exchange(NOTE, ask("made meanwhile")))
    work.gate.open = True
    world.run(1.0)
    assert not under_way.is_over()
    assert not made.is_over()
    world.find_again()
    assert [each.result.message.reason for each in (under_way, made)] == ["under way", "made meanwhile"]
    assert world.at_rest()


def searching() -> World:
    """A platform whose answers are sealed a little later."""
    router = Router()

    @router.on(MARKETPLACE_SEARCH)
    async def search(message: v1.Search, call: Call) -> v1.SearchResult:
        return v1.SearchResult()

    return World(router, limits=Limits(seal_delay=2.0))


def unsealed(world: World) -> Exchange[v1.SearchResult]:
    """An answer that is not sealed yet."""
    strand = asked(world, kind=MARKETPLACE_SEARCH)
    world.run(0.5)
    exchange: Exchange[v1.SearchResult] = strand.result
    assert exchange.receipt() is None
    return exchange


def test_the_receipt_of_a_deferred_answer_comes_over_the_next_line() -> None:
    world = searching()
    exchange = unsealed(world)
    waiting = world.start(world.calls.receipt(exchange))
    world.lose()
    world.run(5.0)
    assert not waiting.is_over()
    world.find_again()
    assert waiting.result is not None
    waiting.result.verify(world.calls.peer.verify_key)


# Another session


@pytest.mark.parametrize("waits", ["before", "after"])
def test_an_answer_of_a_session_that_is_gone_has_no_receipt(waits: str) -> None:
    """And nobody waits for it for ever."""
    world = searching()
    exchange = unsealed(world)
    waiting = world.start(world.calls.receipt(exchange)) if waits == "before" else None
    world.lose()
    world.start_platform()
    world.run(10.0)
    assert [each.resumed for each in world.opened] == [False, False]
    waiting = waiting or world.start(world.calls.receipt(exchange))
    world.settle()
    assert isinstance(waiting.error, ReceiptRefused)


def test_an_answer_whose_session_expires_without_a_line_has_no_receipt() -> None:
    world = searching()
    waiting = world.start(world.calls.receipt(unsealed(world)))
    world.lose()
    world.run(KEPT - 1)
    assert not waiting.is_over()
    world.run(2.0)
    assert isinstance(waiting.error, ReceiptRefused)


def test_a_sealed_answer_keeps_its_receipt_for_ever() -> None:
    world = World(echo_router(REDEEM))
    strand = asked(world, kind=REDEEM, key="k")
    world.run(0.5)
    world.lose()
    world.run(2 * KEPT)
    receipt = world.start(world.calls.receipt(strand.result))
    assert receipt.result == strand.result.receipt() is not None


def test_a_server_that_knows_nothing_stops_nobody_and_each_call_learns_its_fate(work: Work) -> None:
    store = MemoryStore()
    world = World(work.router, store=store, retry=RETRIES)
    note, once = asked(world, "note"), asked(world, "once", REDEEM, key="k")
    world.run(1.0)
    world.lose()
    queued = asked(world, "queued")
    work.gate.open = True
    world.run(1.0)
    world.start_platform()
    world.run(20.0)
    assert isinstance(note.error, OutcomeUnknown)
    assert failure_of(note).reason == "SESSION_UNKNOWN"
    assert once.result.message == say("once")
    assert once.result.replayed, "the server had executed it before it was killed"
    assert queued.result.message == say("queued")
    assert work.begun.count("once") == 1
    assert world.calls._asker.retries._tokens == RETRIES.tokens, "the end of a session costs nothing"
    assert world.at_rest()


def test_handlers_for_a_session_that_is_gone_are_stopped_and_their_answers_dropped(work: Work) -> None:
    """The server is another one, which asks the same: that is answered, and nothing else is."""
    world = World(answers=work.router)
    world.run(1.0)
    old = world.start(world.server.exchange(NOTE, ask("old")))
    once = world.start(world.server.exchange(REDEEM, ask("once"), key="k"))
    world.run(1.0)
    world.lose()
    world.start_platform()
    world.run(10.0)
    assert work.ended == ["old stopped"], "what runs at most once goes on"
    new = world.start(world.server.exchange(NOTE, ask("new")))
    world.run(1.0)
    work.gate.open = True
    world.run(1.0)
    assert new.result.message == say("new")
    assert sorted(work.ended) == ["new done", "old stopped", "once done"]
    assert not old.is_over()
    assert not once.is_over()
    assert world.at_rest()


def test_a_session_that_nobody_comes_back_to_ends_at_both_ends(work: Work) -> None:
    world = World(work.router)
    strand = asked(world, timeout=100.0)
    world.run(1.0)
    kept = world.platform
    assert kept is not None
    world.lose()
    world.run(KEPT - 1)
    assert work.ended == []
    assert len(kept.kept) == len(kept.table) == 1
    world.run(2.0)
    assert work.ended == ["x stopped"]
    assert (len(kept.kept), len(kept.table)) == (0, 0)
    assert failure_of(strand).reason == "SESSION_EXPIRED"
    assert isinstance(strand.error, OutcomeUnknown)
    assert world.fault() is None, "it dials on, with another session"
    world.find_again()
    assert asked(world, "next") is not None
    work.gate.open = True
    world.run(1.0)
    assert world.at_rest()


def test_what_waits_for_a_line_when_its_session_expires_waits_in_the_next_session() -> None:
    world = World(echo_router(), retry=RETRIES)
    world.run(1.0)
    world.lose()
    strand = asked(world, timeout=3 * KEPT)
    world.run(2 * KEPT)
    assert not strand.is_over()
    assert world.calls.waiting is not None
    assert world.calls.waiting.queued == 1
    world.find_again()
    assert strand.result.message == say("x")
    assert world.calls._asker.retries._tokens == RETRIES.tokens, "the end of a session costs nothing"


def test_what_moved_to_another_session_and_fails_there_is_tried_again_as_anything_else_is() -> None:
    """A server that is back and has too much to do says when it wants to be asked again."""
    at: list[float] = []
    router = Router()

    @router.on(NOTE)
    async def busy(message: v1.Search, call: Call) -> v1.GoAway:
        at.append(world.clock.now.mono)
        if len(at) == 1:
            raise Fail(Status.RESOURCE_EXHAUSTED, "BUSY", retry_delay=5.0, disposition=Disposition.NOT_PROCESSED)
        return say(message.query)

    world = World(router, retry=RETRIES)
    world.run(1.0)
    world.lose()
    strand = asked(world)
    world.start_platform()
    world.run(20.0)
    assert strand.result.message == say("x")
    first, second = at
    assert second - first >= 5.0
    assert world.calls._asker.retries._tokens == RETRIES.tokens - 1 + RETRIES.token_ratio


def test_however_often_a_call_moves_its_attempts_are_those_that_were_judged() -> None:
    """Four servers die over it, and the fifth one is busy: it is asked again, as one that fails for the first time."""
    begun = 0
    router = Router()

    @router.on(REDEEM)
    async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
        nonlocal begun
        begun += 1
        if begun < 5:
            await Gate()
        if begun == 5:
            raise Fail(Status.UNAVAILABLE, "BUSY", disposition=Disposition.NOT_PROCESSED)
        return say(message.query)

    world = World(router, retry=RetryPolicy(attempts=2, first_delay=1.0, longest_delay=8.0))
    strand = asked(world, kind=REDEEM, key="k", timeout=1000.0)
    for _ in range(4):
        world.run(15.0)
        world.lose()
        world.start_platform()
    world.run(20.0)
    assert strand.result.message == say("x")
    assert begun == 6


# The end of it all


def test_giving_up_without_a_line_tells_each_call_its_fate_and_once_that_it_is_over(work: Work) -> None:
    world = World(work.router)
    sent = asked(world, "sent")
    world.run(1.0)
    world.lose()
    queued = asked(world, "queued")
    why = Closed(Fault.ABANDONED, "test", "enough")
    world.calls.give_up(why)
    world.run(0.1)
    assert isinstance(sent.error, OutcomeUnknown)
    assert isinstance(queued.error, CallRefused)
    assert [failure_of(each).reason for each in (sent, queued)] == ["SESSION_ABANDONED"] * 2
    assert world.calls.closed is why
    assert world.ended == 1
    late = asked(world)
    assert isinstance(late.error, CallRefused)
    assert failure_of(late).reason == "ABANDONED"
    world.calls.give_up(why)
    world.run(10.0)
    assert world.ended == 1


def test_giving_up_on_a_line_waits_for_the_end_of_that(work: Work) -> None:
    world = World(work.router)
    strand = asked(world)
    world.run(1.0)
    world.calls.give_up(Closed(Fault.ABANDONED, "test", "enough"))
    world.run(1.0)
    assert world.fault() is None
    work.gate.open = True
    world.run(1.0)
    assert strand.result.message == say("x")
    world.line.client.close()
    world.run(1.0)
    assert world.fault() is Fault.CLEAN
    assert world.ended == 1
    assert world.running.is_over()


def test_a_line_that_is_lost_after_giving_up_is_the_end(work: Work) -> None:
    world = World(work.router)
    strand = asked(world)
    world.run(1.0)
    world.calls.give_up(Closed(Fault.ABANDONED, "test", "enough"))
    world.lose()
    assert failure_of(strand).reason == "SESSION_ABANDONED"
    assert world.fault() is Fault.TRANSPORT_LOST
    assert world.ended == 1


def test_who_waits_for_a_place_is_let_go_when_it_is_over() -> None:
    world = World(echo_router(), limits=Limits(requests_queued=2, requests_open=1))
    world.run(1.0)
    world.lose()
    strands = [asked(world, str(n)) for n in range(5)]
    world.run(0.1)
    assert len(world.calls._asker.turns) == 3
    world.calls.give_up(Closed(Fault.ABANDONED, "test", "enough"))
    world.run(0.1)
    assert all(isinstance(each.error, CallRefused) for each in strands)


@pytest.mark.parametrize("unknown", [False, True])
def test_who_waits_for_a_place_without_a_line_gets_it_over_the_next_one(unknown: bool) -> None:
    world = World(echo_router(), limits=Limits(requests_queued=2, requests_open=1))
    world.run(1.0)
    world.lose()
    strands = [asked(world, str(n)) for n in range(9)]
    world.run(0.1)
    if unknown:
        world.start_platform()
    else:
        world.platform = world.away
    world.run(10.0)
    assert [strand.result.message.reason for strand in strands] == list("012345678")
    assert world.at_rest()


def test_one_who_does_not_last_ends_with_its_line(work: Work) -> None:
    """The session waits at the server, where nobody has said that there will be no other line."""
    world = World(work.router, policy=replace(SOON, session_timeout=0.0))
    strand = asked(world)
    world.run(1.0)
    there = world.platform
    assert there is not None
    assert len(there.kept) == 0, "the smaller timeout counts"
    world.lose()
    assert isinstance(strand.error, OutcomeUnknown)
    assert work.ended == ["x stopped"]


# A session that ends before its connection says so


@pytest.mark.parametrize("kind", [NOTE, REDEEM])
def test_nobody_waits_for_a_transport_that_takes_long_to_end(kind: Any) -> None:
    """The session has ended, and the connection has not. What is made meanwhile is made in the next session."""
    world = World(echo_router(kind), policy=replace(SOON, session_timeout=0.0), retry=RETRIES)
    world.run(20.0)
    world.closing_takes = 5.0
    old = world.line
    old.drop()
    key = "k" if kind.once else None
    sent = asked(world, "sent", kind, key=key, timeout=100.0)
    while old.client.connection.takes_requests:
        world.run(1.0)
    assert old.client.fault() is None
    made = asked(world, "made", kind, key=key and f"{key}2")
    world.run(4.0)
    assert not made.is_over()
    assert len(world.lines) == 1, "a line that ends is waited for: what it ends with says whether to dial"
    world.run(20.0)
    assert made.result.message == say("made")
    if kind.once:
        assert sent.result.message == say("sent")
    else:
        assert failure_of(sent).reason == "PEER_SILENT"
    assert world.at_rest()


def test_one_that_lasts_takes_requests_also_before_it_learns_of_the_end() -> None:
    world = World(echo_router(), policy=replace(SOON, session_timeout=0.0))
    world.run(20.0)
    world.closing_takes = 5.0
    old = world.line
    old.drop()
    while old.client.connection.takes_requests:
        world.run(1.0)
    assert world.calls.waiting is None
    takes = [world.calls.takes_requests]
    world.calls.give_up(Closed(Fault.ABANDONED, "test", "enough"))
    takes.append(world.calls.takes_requests)
    world.run(10.0)
    assert world.fault() is Fault.PEER_SILENT
    takes.append(world.calls.takes_requests)
    assert takes == [True, False, False]
