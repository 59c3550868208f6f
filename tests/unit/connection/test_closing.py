"""The end: drained, abandoned, aborted or lost; one Closed on each side, and every call has one outcome."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.connection import State
from ratatoskr.errors import Disposition, Failure, Fault, Status
from ratatoskr.events import GoingAway, Opened, RequestFailed, RequestId, RequestReceived, ResponseReceived
from ratatoskr.limits import Limits
from ratatoskr.messages.standard import MARKETPLACE_SEARCH
from ratatoskr.testing import End, Pair
from tests.attacks.hostile import AUTHORITY, CLIENT, DEVICE, SERVER, SERVER_SIDE, SIDES, HostilePeer, make_victim
from tests.attacks.situations import SITUATIONS, bring


def make_pair(limits: Limits | None = None, latency: float = 0.0) -> Pair:
    pair = Pair(
        client=AUTHORITY.client_config(DEVICE, limits=limits),
        server=AUTHORITY.server_config(identity=SERVER, limits=limits),
        latency=latency,
    )
    pair.open()
    return pair


def ends(pair: Pair, first: str) -> tuple[End, End]:
    """The end of that side, and the other one."""
    return (pair.client, pair.server) if first == CLIENT else (pair.server, pair.client)


def search(end: End) -> RequestId:
    return end.connection.request(MARKETPLACE_SEARCH, v1.Search(query="lamp"))


def assert_clean(pair: Pair) -> None:
    for end in (pair.client, pair.server):
        closed = end.closed
        assert closed is not None, f"{end.name}: {end.events}"
        assert closed.clean, closed
        assert end.connection.state is State.CLOSED


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("latency", [0.0, 0.3])
def test_two_idle_ends_part_at_once(side: str, latency: float) -> None:
    pair = make_pair(latency=latency)
    end, other = ends(pair, side)
    end.connection.close(reason="night falls")
    pair.run(seconds=4 * latency)
    assert_clean(pair)
    assert other.take(GoingAway).reason == "night falls"
    assert not end.seen(GoingAway)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("asker", SIDES)
def test_open_calls_complete_first(side: str, asker: str) -> None:
    """Either side closes while either side's call is open."""
    pair = make_pair()
    asking, answering = ends(pair, asker)
    id = search(asking)
    pair.run()
    request = answering.take(RequestReceived)
    closing, other = ends(pair, side)
    closing.connection.close()
    pair.run(seconds=10)
    assert closing.closed is None
    assert closing.connection.state is State.DRAINING
    assert other.connection.state is State.DRAINING
    answering.connection.respond(request.id, v1.SearchResult())
    pair.run(seconds=Limits().ack_delay)
    assert asking.take(ResponseReceived).id is id
    assert_clean(pair)


def test_both_close_at_once() -> None:
    pair = make_pair(latency=0.2)
    for end in (pair.client, pair.server):
        search(end)
    pair.run(seconds=0.5)
    requests = [end.take(RequestReceived) for end in (pair.client, pair.server)]
    for end in (pair.client, pair.server):
        end.connection.close()
    pair.run(seconds=1.0)
    for end, request in zip((pair.client, pair.server), requests, strict=True):
        end.connection.respond(request.id, v1.SearchResult())
    pair.run(seconds=5)
    assert_clean(pair)
    assert len(pair.client.seen(ResponseReceived)) == len(pair.server.seen(ResponseReceived)) == 1


@pytest.mark.parametrize("side", SIDES)
def test_a_request_that_crosses_the_goaway_is_refused_and_nobody_is_at_fault(side: str) -> None:
    pair = make_pair(latency=0.2)
    end, other = ends(pair, side)
    end.connection.close()
    id = search(other)
    pair.run(seconds=5)
    failed = other.take(RequestFailed)
    assert failed.id is id
    assert failed.failure.reason == "GOING_AWAY"
    assert failed.failure.disposition is Disposition.NOT_PROCESSED
    assert not end.seen(RequestReceived)
    assert_clean(pair)


@pytest.mark.parametrize("side", SIDES)
def test_no_request_is_made_after_a_goaway(side: str) -> None:
    pair = make_pair()
    end, other = ends(pair, side)
    search(other)
    pair.run()
    end.connection.close()
    pair.run()
    for each in (end, other):
        id = search(each)
        pair.run()
        (failed,) = [event for event in each.seen(RequestFailed) if event.id is id]
        assert failed.failure.reason == "GOING_AWAY"
        assert failed.failure.disposition is Disposition.NOT_PROCESSED


def test_what_was_queued_at_the_close_was_not_processed() -> None:
    pair = make_pair(limits=Limits(requests_open=2))
    for _ in range(5):
        search(pair.client)
    pair.run()
    pair.client.connection.close()
    pair.run()
    failures = [event.failure for event in pair.client.seen(RequestFailed)]
    assert [failure.disposition for failure in failures] == [Disposition.NOT_PROCESSED] * 3
    for request in pair.server.seen(RequestReceived):
        pair.server.connection.respond(request.id, v1.SearchResult())
    pair.run(seconds=Limits().ack_delay)
    assert len(pair.client.seen(ResponseReceived)) == 2
    assert_clean(pair)


@pytest.mark.parametrize("side", SIDES)
def test_a_drain_that_takes_too_long_ends(side: str) -> None:
    pair = make_pair(limits=Limits(request_timeout=3600.0))
    end, other = ends(pair, side)
    search(other)
    pair.run()
    end.connection.close()
    pair.run(seconds=31)
    closed = end.closed
    assert closed is not None
    assert closed.fault is Fault.DRAIN_TIMEOUT
    (failed,) = other.seen(RequestFailed)
    assert failed.failure.disposition is Disposition.MAYBE


@pytest.mark.parametrize("side", SIDES)
def test_close_without_draining_abandons_what_is_open(side: str) -> None:
    pair = make_pair()
    end, other = ends(pair, side)
    mine, theirs = search(end), search(other)
    pair.run()
    end.connection.close(drain=False)
    pair.run()
    for each, id, fault in ((end, mine, Fault.ABANDONED), (other, theirs, Fault.TRANSPORT_LOST)):
        closed = each.closed
        assert closed is not None
        assert closed.fault is fault
        assert closed.may_reconnect
        (failed,) = each.seen(RequestFailed)
        assert failed.id is id
        assert failed.failure.disposition is Disposition.MAYBE


@pytest.mark.parametrize("drain", [True, False])
@pytest.mark.parametrize(
    ("side", "state"), [row for row in SITUATIONS if row[1] not in (State.OPEN, State.DRAINING, State.CLOSED)]
)
def test_close_before_it_is_open_abandons(side: str, state: State, *, drain: bool) -> None:
    """There is nothing to drain. No alert is sent: nobody broke a rule."""
    victim = bring(side, state).victim
    victim.written()
    victim.connection.close(drain=drain)
    victim.sent()
    victim.drain()
    closed = victim.finish()
    assert closed.fault is (Fault.RECORD_MALFORMED if state is State.CLOSING else Fault.ABANDONED)
    assert b"\x1f" not in victim.written()[:1]


def test_close_after_the_end_changes_nothing() -> None:
    victim = bring(CLIENT, State.CLOSED).victim
    seen = list(victim.events)
    victim.connection.close()
    victim.connection.close(drain=False)
    victim.drain()
    assert victim.events == seen


@pytest.mark.parametrize("side", SIDES)
def test_close_twice_is_once(side: str) -> None:
    pair = make_pair()
    end, other = ends(pair, side)
    end.connection.close(reason="first")
    end.connection.close(reason="second")
    pair.run()
    assert [event.reason for event in other.seen(GoingAway)] == ["first"]
    assert_clean(pair)


@pytest.mark.parametrize("side", SIDES)
def test_a_drain_can_still_be_abandoned(side: str) -> None:
    pair = make_pair()
    end, other = ends(pair, side)
    search(other)
    pair.run()
    end.connection.close()
    pair.run()
    end.connection.close(drain=False)
    pair.run()
    closed = end.closed
    assert closed is not None
    assert closed.fault is Fault.ABANDONED


@pytest.mark.parametrize("side", SIDES)
def test_an_end_in_the_middle_of_draining_is_no_clean_one(side: str) -> None:
    """Truncation: EOF is clean only after DISCONNECT both ways."""
    peer = bring(side, State.DRAINING)
    closed = peer.victim.finish()
    assert closed.fault is Fault.TRANSPORT_LOST


@pytest.mark.parametrize("side", SIDES)
def test_one_disconnect_is_not_enough(side: str) -> None:
    peer = HostilePeer(side).open()
    peer.victim.connection.close()
    peer.victim.drain()
    assert [c.WhichOneof("control") for flight in peer.hear() for c in flight.controls] == ["go_away"]
    assert peer.victim.finish().fault is Fault.TRANSPORT_LOST


def test_the_server_disconnects_and_the_client_awaits_it() -> None:
    """At a clean end one side closes the transport, and that is the server."""
    pair = make_pair()
    disconnects = []
    for end in (pair.client, pair.server):
        link_end = end.link.end

        def note(now: float, name: str = end.name, link_end: object = link_end) -> None:
            disconnects.append(name)
            link_end(now)  # type: ignore[operator]

        end.link.end = note  # type: ignore[method-assign]
    pair.client.connection.close()
    pair.run()
    assert_clean(pair)
    assert disconnects[0] == "server"


def test_a_client_whose_server_never_disconnects_cuts() -> None:
    peer = HostilePeer(CLIENT).open()
    peer.say(peer.flight(controls=[v1.Control(disconnect=v1.Disconnect())]))
    victim = peer.victim
    assert victim.connection.state is State.CLOSING
    assert victim.disconnects == []
    victim.advance(5.0)
    closed = victim.closed
    assert closed is not None
    assert closed.clean
    assert [disconnect.abort for disconnect in victim.disconnects] == [True]


@pytest.mark.parametrize("side", SIDES)
def test_the_end_of_the_transport_is_read_after_what_came_before_it(side: str) -> None:
    peer = bring(side, State.OPEN)
    victim = peer.victim
    record = peer.record(peer.flight(controls=[v1.Control(go_away=v1.GoAway(reason="bye"))]).SerializeToString())
    victim.connection.receive(record)
    victim.connection.receive_eof("reset by peer")
    victim.connection.receive_eof("again")
    victim.drain()
    assert [event.reason for event in victim.seen(GoingAway)] == ["bye"]
    closed = victim.closed
    assert closed is not None
    assert closed.detail == "reset by peer"


def test_accept_and_the_end_at_once() -> None:
    """The application's decision counts, then the transport's end."""
    victim = bring(SERVER_SIDE, State.DECIDING).victim
    victim.connection.accept()
    victim.connection.receive_eof()
    victim.drain()
    assert [type(event).__name__ for event in victim.events] == ["ConnectionRequested", "Opened", "Closed"]
    assert victim.seen(Opened)


def test_a_rejection_reaches_the_client_before_the_end() -> None:
    failure = Failure(Status.RESOURCE_EXHAUSTED, "FULL", "no room", Disposition.NOT_PROCESSED, retry_delay=5.0)
    pair = Pair(client=AUTHORITY.client_config(DEVICE), server=AUTHORITY.server_config(identity=SERVER), accept=False)
    id = search(pair.client)
    pair.run()
    pair.server.connection.reject(failure)
    pair.run()
    for end in (pair.client, pair.server):
        closed = end.closed
        assert closed is not None
        assert closed.fault is Fault.REJECTED
        assert closed.failure == failure
        assert closed.rule == "admission.rejected"
        assert not closed.may_reconnect
    (failed,) = pair.client.seen(RequestFailed)
    assert failed.id is id
    assert failed.failure.disposition is Disposition.NOT_PROCESSED
    assert pair.client.connection.peer is None


@pytest.mark.parametrize("side", SIDES)
def test_nothing_is_scheduled_after_the_end(side: str) -> None:
    peer = bring(side, State.OPEN)
    victim = peer.victim
    peer.say(peer.flight(controls=[v1.Control(ping=v1.Ping())]))
    victim.eof()
    assert victim.wait.timer is None
    assert victim.connection._session.timers.next()[1] is None


def test_closing_waits_for_nothing_but_the_end() -> None:
    """What was delivered and never acknowledged is not acknowledged any more."""
    peer = HostilePeer(make_victim(CLIENT)).open()
    victim = peer.victim
    victim.holds_writes = True
    search_end = victim.connection.request(MARKETPLACE_SEARCH, v1.Search())
    victim.drain()
    victim.feed(b"\xff\xff\xff\xff")
    assert victim.connection.state is State.CLOSING
    assert victim.wait.until == victim.clock.now.mono + Limits().close_timeout
    assert [event.id for event in victim.seen(RequestFailed)] == [search_end]


@pytest.mark.parametrize("state", [State.LISTENING, State.CHALLENGED])
@pytest.mark.parametrize(("data", "fault"), [(b"", Fault.HANDSHAKE_TIMEOUT), (b"\xff" * 8, Fault.RECORD_MALFORMED)])
def test_the_close_tells_a_stranger_no_more_than_the_alert(state: State, data: bytes, fault: Fault) -> None:
    """By another code it would learn how far it came."""
    victim = bring(SERVER_SIDE, state).victim
    victim.feed(data)
    victim.clock.advance(11.0)
    victim.drain()
    (told,) = victim.disconnects
    assert (told.code, told.reason) == (Fault.REFUSED.code, "REFUSED")
    victim.eof()
    assert victim.closed is not None
    assert victim.closed.fault is fault
