"""What is easily lost, doubled or overtaken when a session goes on over another connection."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ratatoskr.config import Config
from ratatoskr.connection import Connection, State
from ratatoskr.errors import Disposition, Fault, WouldBlock
from ratatoskr.events import (
    Closed,
    ConnectionRequested,
    Disconnect,
    Event,
    GoingAway,
    ItemReceived,
    Opened,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    SessionEnded,
    Wait,
    Writable,
)
from ratatoskr.limits import Limits
from ratatoskr.testing import Pair
from tests.unit.connection.resuming import ask, lose, make_pair, resume, session_of
from tests.unit.messages.support import FEED, PLAIN
from tests.unit.session.support import note, paid


def ask_again(both: Pair, server: Config | None = None) -> Connection:
    """Another line, up to the server's decision, which is left to the test. Nobody polls the old connections."""
    both.reconnect(server=server)
    both.replaced.clear()
    accept, requested = both.server.on_event, list[Event]()

    def wait(event: Event) -> bool:
        if isinstance(event, ConnectionRequested):
            requested.append(event)
        return isinstance(event, ConnectionRequested)

    both.server.on_event = wait
    both.run_until(lambda: requested)
    both.server.on_event = accept
    return both.server.connection


def test_going_away_does_not_overtake_what_is_sent_again() -> None:
    """What was sent before close() is a request like any other, also where it needs more than one flight."""
    both = make_pair(limits=Limits(flight_messages=2, span_messages=2))
    ids = [both.client.connection.request(PLAIN, note(at)) for at in range(5)]
    both.client.link.lost = True
    both.run()
    both.client.connection.close()
    both.run()
    lose(both)
    resume(both)
    asked = both.server.seen(RequestReceived)
    assert [each.message for each in asked] == [note(at) for at in range(5)]
    for each in asked:
        both.server.connection.respond(each.id, note())
    both.run(1.0)
    assert [each.id for each in both.client.seen(ResponseReceived)] == ids
    assert both.client.take(Closed).fault is both.server.take(Closed).fault is Fault.CLEAN


def test_the_end_does_not_overtake_what_is_sent_again() -> None:
    """Long answers take one flight, the request behind them the next one; DISCONNECT must not come between them."""
    both = make_pair()
    server, client = both.server.connection, both.client.connection
    for _ in range(2):
        server.request(PLAIN, note())
    both.run(1.0)
    for _ in range(2):
        client.respond(both.client.take(RequestReceived).id, note("x" * 200_000))
    id = client.request(PLAIN, note())
    both.client.link.lost = True
    both.run()
    client.close()
    both.run()
    lose(both)
    both.reconnect()
    both.run_until(lambda: both.client.connection.state in (State.OPEN, State.DRAINING))
    both.client.holds_writes = True
    both.run(1.0)
    both.client.holds_writes = False
    both.run(1.0)
    both.server.connection.respond(both.server.take(RequestReceived).id, note())
    both.run(1.0)
    assert both.client.take(ResponseReceived).id is id
    assert both.client.take(Closed).fault is both.server.take(Closed).fault is Fault.CLEAN


def test_a_connection_that_is_cut_leaves_its_session_to_the_next_one_before_it_says_closed() -> None:
    """The driver closes the transport, and meanwhile the client comes again."""
    both = make_pair()
    id, asked = ask(both)
    session, old = session_of(both.server), both.server.connection
    old.close(drain=False)
    assert isinstance(old.poll(both.clock.now), Disconnect)
    both.clock.advance(6.0)
    cut = old.poll(both.clock.now)
    assert isinstance(cut, Disconnect)
    assert cut.abort
    assert old.state is State.CLOSED
    both.client.connection.receive_eof()
    both._drive(both.client)
    server = ask_again(both)
    assert server.accept(session=session) is old
    closed, wait = (old.poll(both.clock.now) for _ in range(2))
    assert isinstance(closed, Closed)
    assert closed.fault is Fault.ABANDONED
    assert isinstance(wait, Wait)
    both.open()
    old.respond(asked.id, paid())
    both.run()
    assert both.client.take(ResponseReceived).id is id


def test_a_request_made_before_the_session_goes_on_obeys_what_that_has_agreed_on() -> None:
    """Longer than the client reads: it would wait for ever, and all others behind it."""
    both = make_pair(limits=Limits(record_bytes=8192, envelope_bytes=3072, metadata_entries=2))
    lose(both)
    session = session_of(both.server)
    server = ask_again(both, replace(both._server_config, limits=Limits()))
    refused = [
        server.request(PLAIN, note("x" * 5000)),
        server.request(PLAIN, note(), metadata={"a": "", "b": "", "c": ""}),
    ]
    good = server.request(PLAIN, note("good"), metadata={"a": "", "b": ""})
    server.accept(session=session)
    both.open()
    both.run()
    for id in refused:
        failed = both.server.take(RequestFailed)
        assert failed.id is id
        assert (failed.failure.reason, failed.failure.disposition) == ("REQUEST_TOO_LONG", Disposition.NOT_PROCESSED)
    both.client.connection.respond(both.client.take(RequestReceived).id, note())
    both.run()
    assert both.server.take(ResponseReceived).id is good


def test_a_request_made_before_a_session_goes_on_that_drains_is_refused_here() -> None:
    both = make_pair()
    _, asked = ask(both)
    both.server.connection.close()
    both.run()
    lose(both)
    session = session_of(both.server)
    server = ask_again(both)
    id = server.request(PLAIN, note())
    server.accept(session=session)
    both.open()
    failed = both.server.take(RequestFailed)
    assert (failed.id, failed.received) == (id, None)
    assert (failed.failure.reason, failed.failure.disposition) == ("GOING_AWAY", Disposition.NOT_PROCESSED)
    server.respond(asked.id, paid())
    both.run(1.0)
    assert both.server.take(Closed).fault is Fault.CLEAN


def test_what_was_decided_before_the_session_goes_on_is_told() -> None:
    both = make_pair()
    lose(both)
    session = session_of(both.server)
    server = ask_again(both)
    id = server.request(PLAIN, note())
    server.cancel(id)
    server.accept(session=session)
    both.open()
    failed = both.server.take(RequestFailed)
    assert (failed.id, failed.failure.reason) == (id, "CANCELLED")


@pytest.mark.parametrize("before", [True, False], ids=["on the old connection", "on the new one"])
def test_who_waits_for_room_in_the_queue_is_told_when_the_session_goes_on(before: bool) -> None:
    both = make_pair(limits=Limits(requests_open=1, requests_queued=1))
    lose(both)
    session = session_of(both.server)
    server = both.server.connection if before else ask_again(both)
    first = server.request(PLAIN, note())
    with pytest.raises(WouldBlock):
        server.request(PLAIN, note())
    server = ask_again(both) if before else server
    server.accept(session=session)
    both.open()
    both.run()
    both.client.connection.respond(both.client.take(RequestReceived).id, note())
    both.run()
    assert both.server.take(ResponseReceived).id is first
    assert both.server.take(Writable).id is None


@pytest.mark.parametrize("closes", ["client", "server"])
def test_who_wanted_the_end_of_a_session_wants_that_of_the_one_in_its_place(closes: str) -> None:
    """The client's close() goes on in the session that begins where the server knows the old one no more. The
    server's does not: it knows nothing.
    """
    both = make_pair()
    id, _ = ask(both)
    (both.client if closes == "client" else both.server).connection.close(reason="done")
    both.run()
    lose(both)
    both.sessions.clear()
    both.reconnect()
    both.run(1.0)
    assert both.client.take(RequestFailed).id is id
    assert both.client.take(SessionEnded).fault is Fault.SESSION_UNKNOWN
    if closes == "client":
        assert [event.reason for event in both.server.seen(GoingAway)] == ["done", "done"]
        assert both.client.take(Closed).fault is both.server.take(Closed).fault is Fault.CLEAN
    else:
        assert both.client.connection.state is State.OPEN
        assert both.client.connection.takes_requests


def test_what_the_old_connection_did_not_tell_comes_behind_opened() -> None:
    both = make_pair()
    ids = [both.client.connection.request(PLAIN, note(at)) for at in range(3)]
    both._drive(both.client)
    old = both.server.connection
    while both.client.link.next_at <= both.clock.now.mono:
        old.receive(both.client.link.read() or b"")
    first = old.poll(both.clock.now)
    assert isinstance(first, RequestReceived)
    both.client.connection.receive_eof()
    both._drive(both.client)
    session = session_of(both.server)
    server = ask_again(both)
    server.accept(session=session)
    both.run()
    assert isinstance(both.server.events[0], Opened)
    asked = [first, *both.server.seen(RequestReceived)]
    assert [event.message for event in asked] == [note(at) for at in range(3)]
    for event in asked:
        server.respond(event.id, note())
    both.run()
    assert [event.id for event in both.client.seen(ResponseReceived)] == ids


def test_credit_that_is_said_again_is_not_charged_beside_that_for_the_items_that_come_again() -> None:
    """40 Grants that may have been lost, and then one for each of 40 items: the bucket holds 20."""
    both = make_pair()
    client, server = both.client.connection, both.server.connection
    ids = [client.request(FEED, note(), credit=2, timeout=600.0) for _ in range(40)]
    both.run(1.0)
    asked = both.server.seen(RequestReceived)
    for lost in (False, True):
        both.server.link.lost = lost
        for each in asked:
            server.respond(each.id, note(), last=False)
        both.run(1.0)
        for id in ids:
            client.grant(id, 1)
        both.run(10.0)
    lose(both)
    both.reconnect()
    both.run_until(lambda: both.server.seen(Opened))
    both.server.holds_writes = True
    both.run(0.1)
    both.server.holds_writes = False
    both.run(1.0)
    assert len(both.client.seen(ItemReceived)) == 80
    for id in ids:
        both.client.connection.grant(id, 1)
    both.run(1.0)
    assert both.server.connection.state is State.OPEN


def test_a_line_that_is_lost_again_and_again_is_no_flood() -> None:
    """At one moment of time: each side says at each resume what it has received, and that it goes away."""
    both = make_pair()
    id, asked = ask(both)
    both.client.connection.close()
    for _ in range(50):
        both.run()
        lose(both)
        resume(both)
    both.server.connection.respond(asked.id, paid())
    both.run(1.0)
    assert both.client.take(ResponseReceived).id is id
    assert both.client.take(Closed).fault is both.server.take(Closed).fault is Fault.CLEAN


def test_what_is_sent_again_keeps_to_the_span() -> None:
    """Three messages came without their seal, so one has a place before that."""
    both = make_pair(limits=Limits(span_messages=4, flight_messages=4, seal_delay=10.0))
    client = both.client.connection
    for lost, count in ((False, 3), (True, 4)):
        both.client.link.lost = lost
        for _ in range(count):
            client.request(PLAIN, note(), timeout=600.0)
        both.run()
    lose(both)
    resume(both)
    assert len(both.server.seen(RequestReceived)) == 7
    assert both.server.connection.state is State.OPEN


@pytest.mark.parametrize("smaller", ["client", "server"])
def test_the_limits_that_a_session_began_with_hold(smaller: str) -> None:
    """Those of a later configuration are of no effect, and would forbid what is sent again."""
    both = make_pair()
    words = "x" * 10_000
    both.client.link.lost = True
    id = both.client.connection.request(PLAIN, note(words))
    both.run()
    lose(both)
    config = both._client_config if smaller == "client" else both._server_config
    both.reconnect(**{smaller: replace(config, limits=Limits(record_bytes=4096, envelope_bytes=3072))})
    both.open()
    both.run()
    asked = both.server.take(RequestReceived)
    both.server.connection.respond(asked.id, note(words))
    both.run()
    assert both.client.take(ResponseReceived).id is id
