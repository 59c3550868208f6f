"""The courier and lines that come and go: what is sent when, what waits, what ends meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from ratatoskr.errors import Failure
from tests.unit.service.desk import BUSY, LOST, POLICY, Desk, open_desk


def offline_desk(*texts: str, **options: Any) -> Desk:
    """A desk with these posts, whose courier is at work without a line."""
    desk = Desk(POLICY)
    desk.wire.connected = False
    for text in texts:
        desk.post(text, **options)
    desk.with_courier()
    return desk


def test_without_a_line_nothing_is_sent_and_all_can_be_cancelled() -> None:
    desk = offline_desk("a", "b", "c")
    desk.pass_time(100.0)
    assert desk.wire.asks == []
    assert set(desk.states.values()) == {"WAITING"}
    assert desk.run(desk.outbox.cancel(2))
    desk.wire.opens()
    desk.settle()
    assert desk.wire.only.text == "a"
    desk.wire.only.answer()
    desk.settle()
    assert desk.wire.only.text == "c"


def test_without_a_line_what_expires_is_told_at_its_time() -> None:
    desk = offline_desk("a", expires_at=Desk().clock.now.wall + 20.0)
    desk.post("b")
    desk.listen()
    desk.pass_time(25.0)
    assert desk.outcomes == {"a": "REQUEST_EXPIRED NOT_PROCESSED"}
    desk.wire.opens()
    desk.settle()
    assert desk.wire.only.text == "b"


def test_without_a_line_a_doubt_ends_when_outcomes_are_not_kept_any_more() -> None:
    desk = open_desk("a")
    desk.listen()
    desk.wire.only.fail(LOST)
    desk.wire.connected = False
    desk.pass_time(899.0)
    assert desk.told == []
    desk.pass_time(6.0)
    assert desk.outcomes == {"a": "OUTCOME_UNKNOWN MAYBE"}
    assert len(desk.wire.asks) == 1


@pytest.mark.parametrize("failure", [BUSY, LOST])
def test_a_line_that_is_back_sends_at_once_what_waits_for_its_next_attempt(failure: Failure) -> None:
    desk = open_desk("a")
    for _ in range(6):
        desk.wire.only.fail(failure)
        desk.pass_time(8.0)
    desk.wire.only.fail(failure)
    desk.wire.connected = False
    desk.pass_time(30.0)
    assert desk.wire.open == [], "it is due, and there is no line"
    desk.wire.opens()
    desk.settle()
    assert desk.wire.only.text == "a"
    desk.wire.only.fail(failure)
    desk.settle()
    assert desk.wire.open == []
    desk.wire.opens()
    desk.settle()
    assert desk.wire.only.text == "a", "this line is a new one"


def test_what_is_under_way_when_the_line_is_lost_may_still_get_its_answer() -> None:
    desk = open_desk("a", "b")
    desk.listen()
    desk.wire.connected = False
    desk.pass_time(20.0)
    desk.wire.only.answer("paid")
    desk.settle()
    assert desk.outcomes == {"a": "answer paid"}
    assert desk.states == {"b": "WAITING"}


def test_a_server_that_keeps_outcomes_for_less_than_expected_is_asked_for_less() -> None:
    desk = offline_desk("a", "b")
    desk.listen()
    desk.pass_time(500.0)
    assert desk.told == []
    desk.post("c")
    desk.wire.retention = 600.0
    desk.wire.opens()
    desk.settle()
    assert desk.outcomes == {"a": "STALE NOT_PROCESSED", "b": "STALE NOT_PROCESSED"}
    desk.wire.only.fail(LOST)
    desk.wire.connected = False
    desk.pass_time(499.0)
    assert len(desk.told) == 2
    desk.pass_time(6.0)
    assert desk.outcomes["c"] == "OUTCOME_UNKNOWN MAYBE", "what it said last holds without a line, too"


def test_who_has_ended_is_not_told_of_lines() -> None:
    desk = open_desk()
    assert desk.wire.on_open is not None
    desk.end_block()
    assert desk.wire.on_open is None
