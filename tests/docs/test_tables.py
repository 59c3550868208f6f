"""The parts of the tables that the code cannot tell: which limit is how long a timer runs, and what it does then."""

from __future__ import annotations

from dataclasses import fields

import pytest

from ratatoskr import (
    MARKETPLACE_SEARCH,
    STANDARD_KINDS,
    Closed,
    ConnectionRequested,
    Fault,
    Limits,
    RequestReceived,
    Timer,
    v1,
)
from ratatoskr.connection.states import Input, State
from ratatoskr.messages.rules import Rule
from ratatoskr.testing import Authority, Pair
from ratatoskr.timers import Timers
from tools import tables

LENGTHS = {field: 11.0 + at for at, field in enumerate(sorted(tables.TIMER_LENGTHS.values()))}
LENGTHS |= {"liveness_timeout": 1000.0, "ack_delay": 0.01, "seal_delay": 0.02}
"""A length of its own for each timer."""


def pair(**changes: float) -> Pair:
    authority = Authority()
    limits = Limits(**{**LENGTHS, **changes})  # type: ignore[arg-type]
    return Pair(
        client=authority.client_config(limits=limits),
        server=authority.server_config("yggdrasil.test", limits=limits),
        accept=False,
    )


def search(both: Pair) -> None:
    both.client.connection.request(MARKETPLACE_SEARCH, v1.Search())
    both.run()


def opened(**changes: float) -> Pair:
    both = pair(**changes)
    both.run()
    both.server.take(ConnectionRequested)
    both.server.connection.accept()
    both.run()
    return both


def test_every_timer_runs_for_the_limit_that_the_table_names(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: dict[Timer, set[float]] = {}
    both: Pair

    def spy(timers: Timers, timer: Timer, deadline: float) -> None:
        lengths.setdefault(timer, set()).add(round(deadline - both.clock.now.mono, 6))
        original(timers, timer, deadline)

    original = Timers.set
    monkeypatch.setattr(Timers, "set", spy)
    both = pair()
    both.run()
    both.server.take(ConnectionRequested)
    both.server.connection.accept()
    both.run()
    search(both)  # SEAL and SPAN, REQUEST
    both.run(seconds=0.1)  # ACK
    both.client.connection.receive(b"\x10")  # RECORD
    both.server.connection.close()  # DRAIN: the search is open
    both.run()
    both.server.connection.close(drain=False)  # CLOSE
    both.run()
    for timer, field in tables.TIMER_LENGTHS.items():
        assert LENGTHS[field] in lengths[timer], timer


def test_every_timer_has_a_length_and_an_end() -> None:
    assert set(tables.TIMER_LENGTHS) | {Timer.CANCEL, Timer.SESSION} == set(tables.TIMER_ENDS) == set(Timer)
    assert set(tables.TIMER_LENGTHS.values()) <= {field.name for field in fields(Limits)}


def ends_of(both: Pair) -> set[Fault]:
    return {end.closed.fault for end in (both.client, both.server) if isinstance(end.closed, Closed)}


def test_handshake_that_does_not_go_on() -> None:
    both = pair()
    both.client.link.lost = True
    both.run(seconds=LENGTHS["handshake_timeout"])
    assert ends_of(both) == {tables.TIMER_ENDS[Timer.HANDSHAKE]}


def test_nobody_decides() -> None:
    both = pair()
    both.run(seconds=LENGTHS["accept_timeout"])
    assert both.server.closed is not None
    assert both.server.closed.fault is tables.TIMER_ENDS[Timer.ACCEPT]


def test_a_record_that_does_not_end() -> None:
    both = opened(heartbeat_interval=500.0)
    both.client.connection.receive(b"\x10")
    both.run(seconds=LENGTHS["record_timeout"])
    assert both.client.closed is not None
    assert both.client.closed.fault is tables.TIMER_ENDS[Timer.RECORD]


def test_a_silent_peer() -> None:
    both = opened(liveness_timeout=50.0)
    both.client.link.lost = both.server.link.lost = True
    both.run(seconds=50)
    assert ends_of(both) == {tables.TIMER_ENDS[Timer.LIVENESS]}


def test_a_write_that_blocks() -> None:
    both = opened(span_timeout=500.0)
    both.client.holds_writes = True
    search(both)
    both.run(seconds=LENGTHS["write_timeout"])
    assert both.client.closed is not None
    assert both.client.closed.fault is tables.TIMER_ENDS[Timer.WRITE]


def test_a_seal_that_does_not_come() -> None:
    both = opened(seal_delay=500.0)
    search(both)
    both.run(seconds=LENGTHS["span_timeout"])
    assert both.server.closed is not None
    assert both.server.closed.fault is tables.TIMER_ENDS[Timer.SPAN]


def test_a_call_that_stays_open_after_the_close() -> None:
    both = opened(request_timeout=500.0)
    search(both)
    both.server.take(RequestReceived)
    both.server.connection.close()
    both.run(seconds=LENGTHS["drain_timeout"])
    assert Fault.DRAIN_TIMEOUT is tables.TIMER_ENDS[Timer.DRAIN]
    assert Fault.DRAIN_TIMEOUT in ends_of(both)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (tables.states(), [state.name for state in State]),
        (tables.transitions(), [state.name for state in State]),
        (tables.inputs(), [each.name for each in Input]),
        (tables.timers(), [timer.name for timer in Timer]),
        (tables.faults(), [fault.name for fault in Fault]),
        (tables.rules(), [rule.id for rule in Rule]),
        (tables.kinds(), [kind.name for kind in STANDARD_KINDS]),
        (tables.limit_tables(), [field.name for field in fields(Limits)]),
    ],
)
def test_a_table_has_a_row_for_everything(text: str, names: list[str]) -> None:
    assert [line.split("|")[1].strip(" `") for line in text.splitlines() if line.startswith("| `")] == names


def test_the_table_of_kinds_shows_which_is_a_stream() -> None:
    answers = {row.split("|")[1].strip(" `"): row.split("|")[4].strip() for row in tables.kinds().splitlines()[2:]}
    assert answers["MARKETPLACE_SEARCH"] == "`SearchResult`"
    assert [name for name, answer in answers.items() if answer.startswith("stream of `")] == [
        kind.name for kind in STANDARD_KINDS if kind.stream
    ]


def test_what_tables_hold_has_a_meaning() -> None:
    for text in (tables.limit_tables(), tables.records(), tables.events(), tables.outputs(), tables.dispositions()):
        rows = [line for line in text.splitlines() if line.startswith(("| `", "| 1"))]
        assert rows
        assert all(cell.strip() for row in rows for cell in row.strip("|").split("|"))
