"""A session goes on over another connection: calls simply complete, and every call has one outcome."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ratatoskr.connection import Connection
from ratatoskr.errors import Disposition, Fault, LocalProtocolError
from ratatoskr.events import (
    Closed,
    Opened,
    RequestExpired,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    SessionEnded,
    SpanSealed,
    Wait,
)
from ratatoskr.messages.standard import MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE
from tests.unit.connection.resuming import AUTHORITY, KEPT, ask, lose, make_pair, resume, session_of
from tests.unit.session.support import FOUND, LAMP, paid, pay


def test_an_answer_given_while_there_is_no_line_arrives_over_the_next_one() -> None:
    both = make_pair()
    id, asked = ask(both)
    lose(both)
    both.server.connection.respond(asked.id, paid())
    both.run(5.0)
    assert not both.client.events
    before = both.client.connection.session_id
    resume(both)
    answer = both.client.take(ResponseReceived)
    assert answer.id is id
    assert answer.evidence.receipt() is not None
    assert both.client.connection.session_id == both.server.connection.session_id == before
    assert not both.server.seen(RequestReceived), "the request is not told again"


def test_a_request_that_never_arrived_is_sent_again_under_its_number() -> None:
    both = make_pair()
    both.client.link.lost = True
    id = both.client.connection.request(PAYMENT_AUTHORIZE, pay())
    both.run()
    lose(both)
    resume(both)
    asked = both.server.take(RequestReceived)
    assert asked.received.number == 1
    assert asked.deadline == pytest.approx(both.clock.now.mono + 30.0, abs=1.0)
    both.server.connection.respond(asked.id, paid())
    both.run()
    assert both.client.take(ResponseReceived).id is id


def test_an_answer_that_never_arrived_is_sent_again_byte_for_byte() -> None:
    both = make_pair()
    id, asked = ask(both)
    both.server.link.lost = True
    both.server.connection.respond(asked.id, paid())
    both.run()
    sent = both.server.connection._session._sender._outbox._entries[-1][0]
    lose(both)
    resume(both)
    answer = both.client.take(ResponseReceived)
    assert answer.id is id
    assert answer.received.envelope == sent


def test_an_ack_that_was_lost_comes_at_once() -> None:
    """Until it comes the slot of the call is taken at the server."""
    both = make_pair()
    _, asked = ask(both)
    both.server.connection.respond(asked.id, paid())
    both.client.link.lost = True
    both.run(1.0)
    both.client.take(ResponseReceived)
    lose(both)
    core = session_of(both.server).session
    assert core._answering.calls.open == 1
    resume(both)
    assert core._answering.calls.open == 0


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "due"])
def test_a_seal_over_what_has_come_follows_at_once(lost: bool) -> None:
    both = make_pair()
    id = both.client.connection.request(MARKETPLACE_SEARCH, LAMP)
    both.run()
    both.server.connection.respond(both.server.take(RequestReceived).id, FOUND)
    both.run()
    answer = both.client.take(ResponseReceived)
    assert answer.id is id
    both.client.link.lost = both.server.link.lost = lost
    both.run(1.0 if lost else 0.1)
    assert not answer.evidence.sealed
    lose(both)
    resume(both)
    assert answer.evidence.receipt() is not None
    assert both.client.take(SpanSealed).messages == both.server.take(SpanSealed).messages == 1


def test_requests_made_without_a_line_wait_for_the_next_one_or_for_their_time() -> None:
    both = make_pair()
    lose(both)
    late = both.client.connection.request(MARKETPLACE_SEARCH, LAMP, timeout=2.0)
    kept = both.client.connection.request(MARKETPLACE_SEARCH, LAMP)
    both.run(3.0)
    failed = both.client.take(RequestFailed)
    assert failed.id is late
    assert (failed.failure.reason, failed.failure.disposition) == ("TIMEOUT", Disposition.NOT_PROCESSED)
    resume(both)
    both.server.connection.respond(both.server.take(RequestReceived).id, FOUND)
    both.run()
    assert both.client.take(ResponseReceived).id is kept


def test_the_time_of_calls_runs_on_without_a_line() -> None:
    both = make_pair()
    id, asked = ask(both, timeout=3.0)
    lose(both)
    both.run(4.0)
    failed = both.client.take(RequestFailed)
    assert (failed.id, failed.failure.disposition) == (id, Disposition.MAYBE)
    assert both.server.take(RequestExpired).id is asked.id
    resume(both)
    both.server.connection.respond(asked.id, paid())
    both.run()
    assert not both.client.events, "an outcome was told before"


@pytest.mark.parametrize("seconds", [KEPT - 0.1, KEPT])
def test_a_session_ends_when_nobody_comes_in_time(seconds: float) -> None:
    both = make_pair()
    id, asked = ask(both, timeout=600.0)
    lose(both)
    both.run(seconds)
    ended = seconds == KEPT
    assert bool(both.client.seen(SessionEnded)) is bool(both.server.seen(SessionEnded)) is ended
    if ended:
        failed = both.client.take(RequestFailed)
        assert (failed.id, failed.failure.reason) == (id, "SESSION_EXPIRED")
        assert failed.failure.disposition is Disposition.MAYBE
        assert both.client.connection.session is None
        both.server.connection.respond(asked.id, paid())  # dropped
        with pytest.raises(LocalProtocolError, match="closed"):
            both.client.connection.request(MARKETPLACE_SEARCH, LAMP)
    else:
        resume(both)
        both.server.connection.respond(asked.id, paid())
        both.run()
        assert both.client.take(ResponseReceived).id is id


def test_the_time_of_a_session_begins_anew_with_each_loss() -> None:
    both = make_pair()
    for _ in range(3):
        lose(both)
        both.run(KEPT - 1.0)
        resume(both)


def test_failed_attempts_do_not_prolong_a_session() -> None:
    both = make_pair()
    lose(both)
    for _ in range(5):
        both.run(11.0)
        both.reconnect()
        both.cut()
        both.run()
        assert both.client.take(Closed).fault is Fault.TRANSPORT_LOST
    both.run(KEPT - 55.1)
    assert not both.client.seen(SessionEnded)
    both.run(0.2)
    assert both.client.take(SessionEnded).fault is Fault.SESSION_EXPIRED


def test_a_server_that_knows_nothing_begins_a_new_session_and_each_call_learns_its_fate() -> None:
    both = make_pair()
    numbered, _ = ask(both)
    lose(both)
    queued = both.client.connection.request(PAYMENT_AUTHORIZE, pay("ORDER 2/2026"))
    both.run(1.0)
    old = session_of(both.client)
    both.sessions.clear()
    both.reconnect()
    both.run_until(lambda: both.client.seen(Opened))
    failed, ended, opened = both.client.events
    assert isinstance(failed, RequestFailed)
    assert failed.id is numbered
    assert (failed.failure.reason, failed.failure.disposition) == ("SESSION_UNKNOWN", Disposition.MAYBE)
    assert isinstance(ended, SessionEnded)
    assert (ended.session_id, ended.fault) == (old.session_id, Fault.SESSION_UNKNOWN)
    assert isinstance(opened, Opened)
    assert not opened.resumed
    assert opened.session_id != old.session_id
    both.client.events.clear()
    both.run()
    both.server.connection.respond(both.server.take(RequestReceived).id, paid("ORDER 2/2026"))
    both.run()
    assert both.client.take(ResponseReceived).id is queued


def test_the_older_of_two_connections_is_detached_at_once() -> None:
    both = make_pair()
    id, asked = ask(both)
    both.client.link.lost = True  # a router died: the server hears nothing more, and notices nothing
    both.server.link.cut()
    both.run()
    assert both.client.take(Closed).fault is Fault.TRANSPORT_LOST
    assert both.server.closed is None
    resume(both)
    (left,) = both.replaced
    assert left.closed is not None
    assert left.closed.fault is Fault.SESSION_REPLACED
    assert left.connection.session is None
    both.server.connection.respond(asked.id, paid())
    both.run()
    assert both.client.take(ResponseReceived).id is id


@pytest.mark.parametrize(("client", "server"), [(0.0, KEPT), (KEPT, 0.0)])
def test_without_the_wish_of_both_a_session_ends_with_its_line(client: float, server: float) -> None:
    both = make_pair(client=client, server=server)
    id, _ = ask(both)
    lose(both)
    assert both.client.connection.session is both.server.connection.session is None
    failed = both.client.take(RequestFailed)
    assert (failed.id, failed.failure.reason) == (id, "TRANSPORT_LOST")


def test_a_session_that_is_given_up_tells_each_outcome() -> None:
    both = make_pair()
    id, _ = ask(both)
    lose(both)
    session = session_of(both.client)
    session.abandon()
    session.abandon()
    failed, ended, wait = (session.poll(both.clock.now) for _ in range(3))
    assert isinstance(failed, RequestFailed)
    assert (failed.id, failed.failure.reason) == (id, "SESSION_ABANDONED")
    assert isinstance(ended, SessionEnded)
    assert isinstance(wait, Wait)
    with pytest.raises(LocalProtocolError, match="has ended"):
        Connection.client(both._client_config, server_name="yggdrasil.test", session=session)


def test_a_session_belongs_to_one_connection_at_a_time() -> None:
    both = make_pair()
    session = session_of(both.client)
    now = both.clock.now
    with pytest.raises(LocalProtocolError, match="poll that one"):
        session.poll(now)
    with pytest.raises(LocalProtocolError, match="close that one"):
        session.abandon()
    with pytest.raises(LocalProtocolError, match="one at a time"):
        both.reconnect()
    lose(both)
    other = replace(both._client_config, identity=AUTHORITY.device())
    with pytest.raises(LocalProtocolError, match="another identity"):
        both.reconnect(client=other)
    resume(both)


def test_draining_goes_on_over_the_next_line() -> None:
    both = make_pair()
    id, asked = ask(both)
    both.client.link.lost = both.server.link.lost = True
    both.client.connection.close()
    both.run()
    lose(both)
    resume(both)
    both.server.connection.respond(asked.id, paid())
    both.run(1.0)
    assert both.client.take(ResponseReceived).id is id
    assert both.client.closed is not None
    assert both.server.closed is not None
    assert both.client.closed.fault is both.server.closed.fault is Fault.CLEAN
    assert both.client.connection.session is both.server.connection.session is None


def test_the_secret_is_not_shown() -> None:
    session = session_of(make_pair().client)
    assert repr(session) == "<ResumableSession with yggdrasil.test, on a connection>"


def test_who_has_said_its_last_word_does_not_come_again() -> None:
    """All calls of the client's are answered then."""
    both = make_pair()
    both.server.link.stalled = True
    both.server.connection.close()
    both.run()
    both.server.link.stalled = False
    both.client.link.lost = True
    both.run()
    assert session_of(both.client).session.said_disconnect
    lose(both)
    assert both.client.connection.session is None
    session_of(both.server)
