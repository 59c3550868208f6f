"""The sessions that a server keeps, and which of them it gives up where there are too many."""

from __future__ import annotations

from typing import Any

import pytest

from ratatoskr.errors import Fault, LocalProtocolError
from ratatoskr.events import Closed, ConnectionRequested, Opened, RequestReceived, SessionEnded, Wait
from ratatoskr.messages.standard import MARKETPLACE_SEARCH
from ratatoskr.session import ResumableSession, SessionTable
from ratatoskr.testing import Authority, Pair
from tests.unit.session.support import FOUND, LAMP

AUTHORITY = Authority("table")
DEVICES = [AUTHORITY.device(f"device-{at}") for at in range(2)]
SERVER = AUTHORITY.server("yggdrasil.test")


def lost(device: int = 0, *, answers: int = 0) -> tuple[ResumableSession, Pair]:
    """A server's session that has lost its transport, with so many answers that could not be sent."""
    both = Pair(
        client=AUTHORITY.client_config(DEVICES[device], session_timeout=60.0),
        server=AUTHORITY.server_config(identity=SERVER, session_timeout=60.0),
    )
    both.open()
    for _ in range(answers):
        both.client.connection.request(MARKETPLACE_SEARCH, LAMP)
    both.run()
    both.cut()
    both.run()
    both.server.take(Closed)
    for asked in both.server.seen(RequestReceived):
        both.server.connection.respond(asked.id, FOUND)
    session = both.server.connection.session
    assert session is not None
    return session, both


def keep(table: SessionTable, *sessions: ResumableSession) -> list[ResumableSession]:
    """Each of them loses its transport; returns what was given up."""
    given_up = []
    for session in sessions:
        table.enter(session)
        given_up += table.wait(session)
    return given_up


def test_a_session_is_found_until_it_has_ended() -> None:
    table = SessionTable()
    session, both = lost()
    assert keep(table, session) == []
    assert table.find(session.session_id) is session
    assert table.find(bytes(32)) is None
    session.abandon()
    assert table.find(session.session_id) is None
    table.leave(session)
    table.leave(session)
    assert (len(table), table.waiting()) == (0, [])
    assert table.wait(session) == [], "it is not known any more"
    assert isinstance(session.poll(both.clock.now), SessionEnded)


@pytest.mark.parametrize(("limits", "devices"), [({"per_identity": 2}, (0, 0, 0)), ({"most": 2}, (0, 1, 0))], ids=str)
def test_one_session_too_many_ends_the_one_that_has_waited_longest(
    limits: dict[str, int], devices: tuple[int, ...]
) -> None:
    table = SessionTable(**limits)
    first, second, third = (lost(device)[0] for device in devices)
    assert keep(table, first, second) == []
    assert keep(table, third) == [first]
    assert first.ended
    assert table.waiting() == [second, third]
    assert table.find(first.session_id) is None


def test_a_session_of_another_client_is_none_too_many() -> None:
    table = SessionTable(per_identity=1)
    assert keep(table, lost(0)[0], lost(1)[0]) == []


def test_a_session_that_came_back_waits_no_longer() -> None:
    table = SessionTable(per_identity=1)
    (first, both), (second, _) = lost(), lost()
    keep(table, first)
    both.sessions[first.session_id] = first
    both.reconnect()
    both.run_until(lambda: both.server.seen(Opened))
    assert table.waiting() == [first]
    table.enter(first)
    assert table.waiting() == []
    assert keep(table, second) == []
    assert not first.ended


def test_a_session_whose_client_is_let_in_at_this_moment_is_not_given_up() -> None:
    """It is on a connection that has not said so yet, and another one comes to wait."""
    table = SessionTable(most=1)
    (first, both), (second, third) = lost(), (lost(1)[0] for _ in range(2))
    keep(table, first)
    both.reconnect()
    both.server.on_event = None
    both.run_until(lambda: both.server.seen(ConnectionRequested))
    both.server.connection.accept(session=first)
    assert keep(table, second) == []
    assert (table.waiting(), first.ended) == ([second], False)
    assert table.find(first.session_id) is first
    both.run()
    assert both.server.take(Opened).resumed
    table.enter(first)
    assert keep(table, third) == [second]
    both.cut()
    both.run()
    assert table.wait(first) == [third], "and it waits again like any other"


@pytest.mark.parametrize("room", [-1, 0, 1])
def test_bytes_are_bounded_also_those_that_come_later(room: int) -> None:
    (first, _), (second, both) = lost(0, answers=3), lost(1, answers=1)
    table = SessionTable(most_bytes=first.bytes_held + second.bytes_held + room)
    given_up = keep(table, first, second)
    assert given_up == ([first] if room < 0 else [])
    if room < 0:
        return
    before = second.bytes_held
    second.request(MARKETPLACE_SEARCH, LAMP)
    assert second.bytes_held > before + 1
    assert table.wait(second) == [first]
    assert isinstance(second.poll(both.clock.now), Wait)


def test_a_session_that_is_too_long_for_the_table_is_given_up_itself() -> None:
    session, both = lost(answers=1)
    assert keep(SessionTable(most_bytes=1), session) == [session]
    ended = session.poll(both.clock.now)
    assert isinstance(ended, SessionEnded)
    assert ended.fault is Fault.SESSION_ABANDONED


@pytest.mark.parametrize("limits", [{"most": 0}, {"per_identity": 0}, {"most_bytes": 0}], ids=str)
def test_a_table_holds_something(limits: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError, match="at least 1"):
        SessionTable(**limits)
