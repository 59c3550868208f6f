"""The courier: what it sends and when, what is on disk by then, and what each answer leaves behind."""

from __future__ import annotations

import pytest

from ratatoskr.errors import CallRefused, Failure, OutcomeUnknown
from ratatoskr.messages import Receipt
from ratatoskr.service import (
    Courier,
    OutboxInUse,
    Posting,
)
from ratatoskr.service.once import RUNNING_ELSEWHERE
from tests.unit.service.desk import BUSY, DENIED, LOST, NO_FUNDS, OWN, POLICY, VOUCHER, Desk, open_desk
from tests.unit.service.support import REDEEM, ask, say

# One post


def test_what_is_posted_is_sent_and_its_answer_is_told() -> None:
    desk = open_desk()
    desk.listen()
    id = desk.post("lamp", metadata={"shop": "7"}, expires_at=desk.clock.now.wall + 60.0)
    made = desk.wire.only
    assert (made.kind, made.message) == (VOUCHER, ask("lamp"))
    assert made.options == {
        "timeout": 30.0,
        "key": None,
        "expires_at": desk.clock.now.wall + 60.0,
        "metadata": {"shop": "7"},
        "issued_at": desk.clock.now.wall,
    }
    made.answer("paid")
    desk.settle()
    (told,) = desk.told
    assert (told.post.id, told.post.state, told.answer(VOUCHER), told.delivery) == (id, Posting.SETTLED, say("paid"), 1)
    assert isinstance(told.receipt, Receipt)
    assert desk.states == {}


def test_it_is_marked_as_sent_before_it_is_sent() -> None:
    desk = open_desk("lamp")
    assert desk.wire.only.state is Posting.SENT
    assert not desk.run(desk.outbox.cancel(1))


@pytest.mark.parametrize("key", ["order-1", b"\xff\x00", None])
def test_every_attempt_has_the_same_key_and_issue_time(key: str | bytes | None) -> None:
    desk = Desk(POLICY)
    desk.post("lamp", REDEEM, key=key)
    posted = desk.run(desk.outbox.pending())[0]
    desk.clock.advance(100.0)
    desk.with_courier()
    for failure in (BUSY, LOST, LOST):
        desk.wire.only.fail(failure)
        desk.pass_time(10.0)
    assert len(desk.wire.asks) == 4
    assert {(made.options["key"], made.options["issued_at"]) for made in desk.wire.asks} == {
        (posted.key, posted.issued_at)
    }


@pytest.mark.parametrize(
    ("failure", "state"), [(BUSY, Posting.WAITING), (LOST, Posting.DOUBTFUL), (RUNNING_ELSEWHERE, Posting.DOUBTFUL)]
)
def test_what_may_end_otherwise_waits_and_is_sent_again(failure: Failure, state: Posting) -> None:
    desk = open_desk("lamp")
    desk.wire.only.fail(failure)
    desk.settle()
    assert desk.states == {"lamp": state.name}
    advice = failure.retry_delay or 0.0
    desk.pass_time(advice + 0.49)
    assert desk.wire.open == []
    desk.pass_time(0.51)
    assert desk.wire.only.state is (Posting.SENT if state is Posting.WAITING else Posting.DOUBTFUL)


def test_a_failure_that_is_final_is_told() -> None:
    desk = open_desk("a", "b")
    desk.listen()
    desk.wire.only.fail(NO_FUNDS)
    desk.settle()
    desk.wire.only.fail(DENIED)
    desk.settle()
    assert desk.outcomes == {"a": "NO_FUNDS FAILED", "b": "ROLE NOT_PROCESSED"}
    with pytest.raises(CallRefused):
        desk.told[1].answer(VOUCHER)


def test_a_refusal_after_a_doubt_is_a_doubt() -> None:
    desk = open_desk("lamp")
    desk.listen()
    for failure in (LOST, BUSY, DENIED):
        desk.wire.only.fail(failure)
        desk.pass_time(8.0)
    assert desk.outcomes == {"lamp": "ROLE MAYBE"}
    with pytest.raises(OutcomeUnknown):
        desk.told[0].answer(VOUCHER)


def test_a_doubt_that_is_stored_at_the_peer_is_told_and_holds_nobody_up() -> None:
    desk = open_desk("a", "b")
    desk.listen()
    desk.wire.only.fail(LOST)
    desk.pass_time(1.0)
    desk.wire.only.fail(LOST, replayed=True)
    desk.settle()
    assert desk.outcomes == {"a": "TRANSPORT_LOST MAYBE"}
    assert desk.wire.only.text == "b"


# Order


def test_a_lane_goes_one_after_the_other() -> None:
    desk = open_desk("a", "b", "c")
    sent = []
    for _ in range(3):
        sent.append(desk.wire.only.text)
        desk.wire.only.answer()
        desk.settle()
    assert sent == ["a", "b", "c"]


def test_what_must_be_sent_again_is_not_overtaken_in_its_lane() -> None:
    desk = open_desk("a", "b")
    for failure in (BUSY, LOST, BUSY, LOST):
        desk.wire.only.fail(failure)
        desk.pass_time(8.0)
        assert desk.wire.only.text == "a"
    desk.post("c")
    desk.wire.only.answer()
    desk.settle()
    assert desk.wire.only.text == "b"


def test_lanes_are_sent_at_the_same_time_so_many() -> None:
    desk = Desk(POLICY)
    for text in ("a1", "a2", "b1", "c1", "c2"):
        desk.post(text, lane=text[0])
    desk.with_courier()
    assert [made.text for made in desk.wire.open] == ["a1", "b1"]
    desk.wire.open[0].answer()
    desk.settle()
    assert [made.text for made in desk.wire.open] == ["b1", "a2"], "the lane whose first post is the oldest"
    desk.wire.open[0].fail(BUSY)
    desk.settle()
    assert [made.text for made in desk.wire.open] == ["a2", "c1"], "who waits takes no place"


def test_the_order_is_kept_over_a_restart() -> None:
    desk = open_desk("a", "b")
    desk.wire.only.fail(LOST)
    desk.settle()
    desk.crash()
    later = Desk(POLICY, desk.store, desk.clock)
    later.post("c")
    later.with_courier()
    sent = []
    for _ in range(3):
        sent.append(later.wire.only.text)
        later.wire.only.answer()
        later.settle()
    assert sent == ["a", "b", "c"]


# Time


def test_what_expires_before_its_first_attempt_is_not_sent() -> None:
    desk = open_desk("a")
    desk.listen()
    desk.post("b", expires_at=desk.clock.now.wall + 20.0)
    desk.pass_time(25.0)
    assert desk.outcomes == {"b": "REQUEST_EXPIRED NOT_PROCESSED"}, "though a is still being sent"
    desk.wire.only.answer()
    desk.settle()
    assert desk.wire.open == []


def test_what_was_refused_and_expires_before_the_next_attempt_was_not_processed() -> None:
    desk = open_desk("a", expires_at=Desk().clock.now.wall + 20.0)
    desk.listen()
    desk.wire.only.fail(BUSY)
    desk.clock.advance(30.0)
    desk.pass_time(5.0)
    assert desk.outcomes == {"a": "REQUEST_EXPIRED NOT_PROCESSED"}


def test_what_may_have_been_executed_is_asked_for_beyond_its_expiry() -> None:
    desk = open_desk("a", expires_at=Desk().clock.now.wall + 20.0)
    desk.listen()
    desk.wire.only.fail(LOST)
    desk.pass_time(500.0)
    desk.wire.only.answer("paid", replayed=True)
    desk.settle()
    assert desk.outcomes == {"a": "answer paid"}


def test_it_is_asked_for_no_longer_than_outcomes_are_kept() -> None:
    desk = open_desk("a", "b")
    desk.listen()
    for _ in range(110):
        for made in desk.wire.open:
            made.fail(LOST)
        desk.pass_time(8.0)
    assert 870 < desk.clock.now.mono < 900
    assert desk.told == []
    desk.pass_time(900.0 - desk.clock.now.mono - 0.1)
    for made in desk.wire.open:
        made.fail(LOST)
    desk.pass_time(8.0)
    assert desk.outcomes == {"a": "OUTCOME_UNKNOWN MAYBE", "b": "STALE NOT_PROCESSED"}
    assert desk.wire.open == []


def test_an_attempt_that_is_under_way_then_still_gets_its_answer() -> None:
    desk = open_desk("a")
    desk.listen()
    desk.wire.only.fail(LOST)
    desk.pass_time(1.0)
    desk.pass_time(2000.0)
    assert desk.told == []
    desk.wire.only.answer("paid")
    desk.settle()
    assert desk.outcomes == {"a": "answer paid"}


def test_what_another_process_posts_is_sent_after_a_while() -> None:
    desk = open_desk()
    Desk(store=desk.store, clock=desk.clock).post("a")
    desk.pass_time(5.0)
    assert desk.wire.only.text == "a"


# Beginning and ending


def test_one_courier_at_a_time() -> None:
    desk = Desk()
    desk.with_courier()
    with pytest.raises(OutboxInUse, match="one at a time"):
        desk.run(Courier(desk.outbox, desk.wire, desk.host, OWN).__aenter__())
    assert desk.end_block().is_over()
    desk.run(Courier(desk.outbox, desk.wire, desk.host, OWN).__aenter__())


def test_the_end_of_the_block_waits_for_what_is_under_way_and_sends_no_more() -> None:
    desk = open_desk("a", "b")
    end = desk.end_block()
    desk.pass_time(60.0)
    assert not end.is_over()
    desk.wire.only.answer("paid")
    desk.settle()
    assert desk.host.unfinished == []
    assert desk.wire.open == []
    desk.listen()
    assert desk.outcomes == {"a": "answer paid"}
    assert desk.states["b"] == "WAITING"


def test_an_exception_in_the_block_does_not_wait_and_leaves_a_doubt() -> None:
    desk = open_desk("a")
    assert desk.end_block(ValueError()).is_over()
    assert desk.host.unfinished == []
    assert desk.states == {"a": "SENT"}
    later = Desk(POLICY, desk.store, desk.clock)
    later.with_courier()
    assert later.wire.only.state is Posting.DOUBTFUL, "the first attempt may have come through"


def test_who_gives_up_waiting_for_the_end_leaves_it_to_the_next() -> None:
    desk = open_desk("a")
    desk.end_block().cancel()
    desk.settle()
    assert desk.host.unfinished == []
    assert desk.run(desk.store.lock(b"next"))
