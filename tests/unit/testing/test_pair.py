"""Pair and Link: both ends, virtual time, and the faults that real networks have."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.connection import State
from ratatoskr.errors import Fault
from ratatoskr.events import (
    Closed,
    ConnectionRequested,
    Event,
    Opened,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
)
from ratatoskr.limits import Limits
from ratatoskr.messages.standard import MARKETPLACE_SEARCH
from ratatoskr.testing import Authority, Clock, End, Link, Pair
from ratatoskr.timers import Now

AUTHORITY = Authority("pairs")
CLIENT = AUTHORITY.client_config()
SERVER = AUTHORITY.server_config()


def make_pair(**arguments: float) -> Pair:
    pair = Pair(client=CLIENT, server=SERVER, **arguments)  # type: ignore[arg-type]
    pair.open()
    return pair


def ask(pair: Pair) -> None:
    pair.client.connection.request(MARKETPLACE_SEARCH, v1.Search(query="seeds"))


def test_a_call_in_a_few_lines() -> None:
    pair = Pair()
    pair.open()
    id = pair.client.connection.request(MARKETPLACE_SEARCH, v1.Search(query="seeds"))
    pair.run()
    request = pair.server.take(RequestReceived)
    pair.server.connection.respond(request.id, v1.SearchResult())
    pair.run()
    assert pair.client.take(ResponseReceived).id is id


def test_opening_takes_no_more_time_than_it_takes() -> None:
    assert make_pair().clock.now.mono == 0.0
    pair = make_pair(latency=0.25)
    assert pair.clock.now.mono == 4 * 0.25  # four messages
    assert pair.client.events == pair.server.events == []


def test_the_same_pair_runs_the_same_way() -> None:
    """Identities and time repeat. Only the hybrid key exchange is random, so session ids differ."""
    first, second = (Pair(Authority(7)) for _ in range(2))
    for pair in (first, second):
        pair.open()
    assert first.client.connection.peer == second.client.connection.peer
    assert first.clock.now == second.clock.now


def test_an_application_may_decide_by_itself() -> None:
    pair = Pair(client=CLIENT, server=SERVER, accept=False)
    pair.run()
    assert pair.server.take(ConnectionRequested).peer.subject == "device-1"
    pair.server.connection.accept()
    pair.run()
    pair.client.take(Opened)


def test_what_is_missing_is_said_with_what_there_was() -> None:
    pair = make_pair()
    ask(pair)
    pair.run()
    with pytest.raises(AssertionError) as caught:
        pair.server.take(ResponseReceived)
    assert str(caught.value) == (
        "the server saw no ResponseReceived; it saw [RequestReceived(MARKETPLACE_SEARCH (10/1))]"
    )


def test_a_pair_that_cannot_open_says_why() -> None:
    pair = Pair(Authority(1), server=Authority(2).server_config())
    with pytest.raises(AssertionError, match=r"the client saw no Opened; .*REFUSED.*certificate\.issuer"):
        pair.open()


def test_a_pair_that_does_not_open_says_where_it_stands() -> None:
    pair = Pair(client=CLIENT, server=SERVER, accept=False)
    with pytest.raises(
        AssertionError, match=r"not within 5 s: the client is REQUESTED and saw \[\]; the server is DECIDING"
    ):
        pair.run_until(lambda: pair.client.seen(Opened), within=5)


def test_time_passes_until_something_holds_and_no_further() -> None:
    pair = make_pair(latency=0.1)
    ask(pair)
    start = pair.clock.now.mono
    pair.run_until(lambda: pair.server.seen(RequestReceived))
    assert pair.clock.now.mono == pytest.approx(start + 0.1)


def test_run_lets_exactly_so_much_time_pass() -> None:
    pair = make_pair()
    pair.run(seconds=1.5)
    assert pair.clock.now.mono == 1.5
    assert pair.next_in == Limits().heartbeat_interval - 1.5
    pair.run(seconds=0)
    assert pair.clock.now.mono == 1.5


def test_a_loop_without_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratatoskr.testing.pair.MAX_TURNS", 1000)
    pair = make_pair()

    def again(event: Event) -> bool:
        ask(pair)
        return isinstance(event, ResponseReceived)

    def answer(event: Event) -> bool:
        if isinstance(event, RequestReceived):
            pair.server.connection.respond(event.id, v1.SearchResult())
        return True

    pair.client.on_event, pair.server.on_event = again, answer
    ask(pair)
    with pytest.raises(AssertionError, match="did not come to rest in 1000 turns"):
        pair.run()


def test_the_end_is_known_even_when_it_was_taken() -> None:
    pair = make_pair()
    pair.client.connection.close()
    pair.run()
    closed = pair.client.take(Closed)
    assert pair.client.closed is closed
    assert pair.server.closed is not None
    assert pair.next_in == float("inf")


def test_a_write_that_blocks() -> None:
    pair = make_pair()
    pair.client.holds_writes = True
    for _ in range(3):
        ask(pair)
        pair.run()
    assert len(pair.server.seen(RequestReceived)) == 1
    pair.client.holds_writes = False
    pair.run()
    assert len(pair.server.seen(RequestReceived)) == 3


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_bytes_come_in_chunks_of_any_size(chunk: int) -> None:
    pair = Pair(client=CLIENT, server=SERVER, chunk=chunk)
    pair.open()
    ask(pair)
    pair.run()
    pair.server.take(RequestReceived)


def test_a_stalled_link_delivers_later() -> None:
    pair = make_pair()
    pair.client.link.stalled = True
    ask(pair)
    pair.run(seconds=5)
    assert not pair.server.events
    pair.client.link.stalled = False
    pair.run()
    pair.server.take(RequestReceived)


def test_what_a_dead_router_swallows_nobody_is_told() -> None:
    """Not even the end of the transport: the other side finds out by itself."""
    pair = make_pair()
    pair.client.link.lost = True
    pair.server.link.lost = True
    ask(pair)
    pair.client.connection.close(drain=False)
    pair.run()
    assert pair.client.closed is not None
    assert pair.server.connection.state is State.OPEN
    pair.run(seconds=Limits().liveness_timeout)
    closed = pair.server.closed
    assert closed is not None
    assert closed.fault is Fault.PEER_SILENT


def test_a_line_that_is_cut() -> None:
    pair = make_pair()
    ask(pair)
    pair.run()
    pair.cut()
    pair.run()
    for end in (pair.client, pair.server):
        assert end.closed is not None
        assert end.closed.fault is Fault.TRANSPORT_LOST
    pair.client.take(RequestFailed)


@pytest.mark.parametrize("after", [1, 4, 100, 1500])
def test_a_line_that_is_cut_after_so_many_bytes(after: int) -> None:
    pair = Pair(client=CLIENT, server=SERVER, chunk=64)
    pair.client.link.cut_after = after
    pair.run(seconds=1)
    assert pair.client.link.delivered == after
    for end in (pair.client, pair.server):
        assert end.closed is not None
        assert end.closed.fault is Fault.TRANSPORT_LOST
        assert end.connection.state is State.CLOSED


def test_bytes_that_are_changed() -> None:
    pair = make_pair()
    pair.client.link.tamper = lambda data: data[:-1] + bytes([data[-1] ^ 1])
    ask(pair)
    pair.run()
    assert pair.server.closed is not None
    assert pair.server.closed.fault is Fault.RECORD_FORGED


# The parts


def test_a_link_delivers_in_order_and_in_time() -> None:
    link = Link(latency=2.0, chunk=2)
    assert link.next_at == float("inf")
    link.write(b"abc", now=1.0)
    link.write(b"", now=1.0)
    link.end(now=1.5)
    link.write(b"after the end", now=1.6)
    assert link.next_at == 3.0
    assert [link.read(), link.read()] == [b"ab", b"c"]
    assert link.next_at == 3.5
    assert link.read() is None
    assert link.ended
    link.write(b"too late", now=4.0)
    assert link.next_at == float("inf")
    assert link.delivered == 3


def test_a_cut_link_forgets_what_is_in_flight() -> None:
    link = Link(latency=1.0)
    link.write(b"abc", now=0.0)
    link.cut()
    assert link.next_at == -float("inf")
    assert link.read() is None


def test_a_clock_moves_when_it_is_told_to() -> None:
    clock = Clock(wall=1000.0)
    clock.advance(2.5)
    assert clock.now == Now(2.5, 1002.5)
    clock.set_wall(0.0)
    assert clock.now == Now(2.5, 0.0)
    with pytest.raises(ValueError, match="set_wall"):
        clock.advance(-1)


def test_an_end_keeps_what_nobody_has_taken() -> None:
    pair = make_pair()
    end: End = pair.server
    ask(pair)
    ask(pair)
    pair.run()
    first, second = end.seen(RequestReceived)
    assert end.take(RequestReceived) is first
    assert end.seen(RequestReceived) == [second]
    assert end.name == "server"
