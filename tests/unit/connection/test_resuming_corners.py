"""What is easily lost, doubled or overtaken when a session goes on over another connection."""

from __future__ import annotations

from ratatoskr.connection import State
from ratatoskr.errors import Fault
from ratatoskr.events import Closed, RequestReceived, ResponseReceived
from ratatoskr.limits import Limits
from tests.unit.connection.resuming import lose, make_pair, resume
from tests.unit.messages.support import PLAIN
from tests.unit.session.support import note


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
