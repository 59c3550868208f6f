"""The outbox without a courier: what may be posted, what is the same post, what is told and when it is forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import CallRefused, LocalProtocolError, Status
from ratatoskr.messages.standard import PAYMENT_AUTHORIZE
from ratatoskr.service import MemoryOutboxStore, Outbox, OutboxFull, OutboxPolicy, Posting, Settlement
from tests.unit.service.desk import VOUCHER, Desk
from tests.unit.service.support import NOTE, REDEEM, ask, run, say

HOUR = 3600.0


# Posting


def test_a_post_waits_with_all_that_was_said_of_it() -> None:
    desk = Desk()
    now = desk.clock.now.wall
    id = desk.post("lamp", expires_at=now + HOUR, metadata={"shop": "7", "b": "ü"}, lane="account-1")
    desk.clock.advance(10.0)
    (post,) = desk.run(desk.outbox.pending())
    assert (post.id, post.kind, post.message, post.key, post.lane) == (id, VOUCHER, ask("lamp"), b"lamp", "account-1")
    assert (post.metadata, post.issued_at, post.expires_at) == ({"shop": "7", "b": "ü"}, now, now + HOUR)
    assert post.state is Posting.WAITING


def test_posts_are_numbered_in_their_order() -> None:
    desk = Desk()
    ids = [desk.post(text, lane=lane) for text, lane in [("a", ""), ("b", "x"), ("c", "")]]
    assert ids == sorted(ids)
    assert [post.id for post in desk.run(desk.outbox.pending())] == ids


@pytest.mark.parametrize(("kind", "key"), [(VOUCHER, None), (REDEEM, "order-1"), (REDEEM, b"\xff\x00")])
def test_the_same_request_under_the_same_key_is_the_same_post(kind: Any, key: str | bytes | None) -> None:
    """What else is said of it is that of the first one: a loop that tries again says another expiry each time."""
    desk = Desk()
    first = desk.post("lamp", kind, key=key, expires_at=desk.clock.now.wall + HOUR)
    desk.clock.advance(5.0)
    assert desk.post("lamp", kind, key=key, expires_at=desk.clock.now.wall + HOUR, lane="x") == first
    (post,) = desk.run(desk.outbox.pending())
    assert (post.issued_at, post.expires_at) == (desk.clock.now.wall - 5.0, desk.clock.now.wall - 5.0 + HOUR)
    assert post.lane == ""


def test_another_request_under_the_key_is_misuse_and_names_it() -> None:
    desk = Desk()
    desk.post("10", REDEEM, key="order-1")
    with pytest.raises(LocalProtocolError, match=r"acme\.Redeem: post 1 has the key 'order-1' and asks for something"):
        desk.post("11", REDEEM, key="order-1")
    with pytest.raises(LocalProtocolError, match="ff00"):
        [desk.post(text, REDEEM, key=b"\xff\x00") for text in ("10", "11")]
    assert [post.message for post in desk.run(desk.outbox.pending())] == [ask("10"), ask("10")]


def test_without_a_key_each_post_is_an_operation_of_its_own() -> None:
    desk = Desk()
    assert desk.post("10", REDEEM) != desk.post("10", REDEEM)
    keys = [post.key for post in desk.run(desk.outbox.pending())]
    assert len(set(keys)) == 2
    assert {len(key) for key in keys} == {16}


@pytest.mark.parametrize(
    ("kind", "message", "options", "error"),
    [
        (NOTE, ask("x"), {}, "may run twice"),
        (PAYMENT_AUTHORIZE, v1.AuthorizePayment(end_to_end_id="o-1"), {}, "name it in kinds="),
        (VOUCHER, ask("x"), {"key": "y"}, "leave key= out"),
        (VOUCHER, ask(""), {}, "needs a key"),
        (VOUCHER, say("x"), {}, "takes a Search"),
        (VOUCHER, ask("x"), {"expires_at": float("nan")}, "seconds since the epoch"),
        (VOUCHER, ask("x"), {"expires_at": 1e20}, "seconds since the epoch"),
        (VOUCHER, ask("x"), {"metadata": {"Ü": "x"}}, "metadata name"),
        (VOUCHER, ask("x"), {"lane": "\udc80"}, "no UTF-8"),
        (VOUCHER, ask("x"), {"lane": "x" * 257}, "at most 256"),
        (REDEEM, ask("x"), {"key": "\udc80"}, "no UTF-8"),
    ],
)
def test_misuse_stores_nothing(kind: Any, message: Any, options: dict[str, Any], error: str) -> None:
    desk = Desk()
    with pytest.raises(LocalProtocolError, match=error):
        desk.run(desk.outbox.post(kind, message, **options))
    assert desk.run(desk.outbox.pending()) == []


def test_a_message_that_breaks_its_rules_is_refused_at_once() -> None:
    desk = Desk()
    outbox = Outbox(desk.store, desk.host)
    with pytest.raises(CallRefused) as caught:
        desk.run(outbox.post(PAYMENT_AUTHORIZE, v1.AuthorizePayment(end_to_end_id="order-1")))
    failure = caught.value.failure
    assert (failure.status, failure.reason) == (Status.INVALID_ARGUMENT, "PAYLOAD_SCHEMA")
    assert [each.field for each in failure.violations][:2] == ["debtor_account", "creditor_account"]
    assert desk.run(outbox.pending()) == []


# Bounds


def test_it_holds_so_many_entries_and_says_that_it_is_full() -> None:
    desk = Desk(OutboxPolicy(entries=2))
    desk.post("a")
    desk.post("b")
    with pytest.raises(OutboxFull, match=r"2 posts wait.*OutboxPolicy\.entries is 2"):
        desk.post("c")
    assert list(desk.states) == ["a", "b"]
    assert desk.post("a") == 1, "what is there needs no room"


def test_it_holds_so_many_bytes() -> None:
    size = MemoryOutboxStore()
    desk = Desk(store=size)
    desk.post("a" * 100)
    (parcel,) = run(size.unsettled())
    desk = Desk(OutboxPolicy(bytes=2 * parcel.size))
    desk.post("a" * 100)
    with pytest.raises(OutboxFull, match=r"OutboxPolicy\.bytes is"):
        desk.post("b" * 101)
    desk.post("b" * 100)


def test_an_outcome_needs_room_too_until_it_is_forgotten() -> None:
    desk = Desk(OutboxPolicy(entries=1))
    desk.run(desk.outbox.cancel(desk.post("a")))
    with pytest.raises(OutboxFull):
        desk.post("b")
    desk.listen(done=True)
    desk.post("b")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"entries": 0}, "entries must be from 1"),
        ({"lanes": 0}, "lanes must be from 1"),
        ({"timeout": 0.0}, "timeout must be from 0.1"),
        ({"retention": float("nan")}, "retention must be"),
        ({"retention": 1799.0}, "margin must be at most half"),
    ],
)
def test_a_policy_that_cannot_work_is_misuse(options: dict[str, Any], error: str) -> None:
    with pytest.raises(LocalProtocolError, match=error):
        OutboxPolicy(**options)


# Outcomes


def test_an_outcome_comes_until_it_is_done_and_says_how_often() -> None:
    desk = Desk()
    desk.run(desk.outbox.cancel(desk.post("a")))
    for turn in (1, 2, 3):
        desk.listen()
        assert [told.delivery for told in desk.told] == list(range(1, turn + 1))
    desk.run(desk.told[0].done())
    desk.run(desk.told[0].done())
    desk.listen()
    assert len(desk.told) == 3


def test_who_reads_gets_each_outcome_once_however_long_it_is_not_done() -> None:
    desk = Desk()
    desk.listen()
    for text in ("a", "b"):
        desk.run(desk.outbox.cancel(desk.post(text)))
    desk.pass_time(HOUR)
    assert [(told.post.message, told.delivery) for told in desk.told] == [(ask("a"), 1), (ask("b"), 1)]


def test_an_outcome_that_is_done_leaves_its_place_to_no_other() -> None:
    """A reader that goes on misses nothing, though all that it has read is forgotten."""
    desk = Desk()
    desk.listen(done=True)
    for text in ("a", "b", "c"):
        desk.run(desk.outbox.cancel(desk.post(text)))
    assert [told.post.message for told in desk.told] == [ask("a"), ask("b"), ask("c")]
    assert desk.outcomes == dict.fromkeys("abc", "CANCELLED NOT_PROCESSED")


def test_what_another_process_has_settled_is_told_after_a_while() -> None:
    desk = Desk()
    other = Desk(store=desk.store, clock=desk.clock)
    desk.listen()
    other.run(other.outbox.cancel(other.post("a")))
    desk.pass_time(4.9)
    assert desk.told == []
    desk.pass_time(0.1)
    assert len(desk.told) == 1


def test_an_outcome_is_read_as_a_call_s() -> None:
    desk = Desk()
    desk.run(desk.outbox.cancel(desk.post("a")))
    desk.listen()
    (told,) = desk.told
    with pytest.raises(CallRefused, match="CANCELLED"):
        told.answer(VOUCHER)
    with pytest.raises(LocalProtocolError, match=r"post 1 is a acme.Voucher, and no acme.Redeem"):
        told.answer(REDEEM)
    assert told.receipt is None


def test_a_key_is_free_again_when_its_outcome_is_done() -> None:
    desk = Desk()
    first = desk.post("a")
    desk.run(desk.outbox.cancel(first))
    assert desk.post("a") == first
    desk.listen(done=True)
    assert desk.post("a") > first


def test_a_post_of_a_kind_that_is_not_known_any_more_is_named() -> None:
    desk = Desk()
    desk.post("a")
    with pytest.raises(LocalProtocolError, match=r"post 1 is of kind 1001/3.*name it in kinds="):
        desk.run(Outbox(desk.store, desk.host, kinds=[REDEEM]).pending())


def test_what_cannot_be_read_any_more_is_told_and_not_skipped() -> None:
    desk = Desk()
    desk.post("a")
    (parcel,) = run(desk.store.unsettled())
    run(desk.store.add(replace(parcel, nonce=bytes(16), payload=b"\xff"), max_entries=9, max_bytes=9999))
    with pytest.raises(LocalProtocolError, match="post 2 is no Search any more"):
        desk.run(desk.outbox.pending())
    run(desk.store.move(1, Posting.WAITING, Posting.SETTLED, Settlement(b"\xff")))
    reader = desk.listen()
    assert isinstance(reader.error, LocalProtocolError)
    assert "the outcome of post 1 is no GoAway any more" in str(reader.error)


# Cancelling and expiring


def test_what_was_not_sent_can_be_cancelled_once() -> None:
    desk = Desk()
    id = desk.post("a")
    assert desk.run(desk.outbox.cancel(id))
    assert not desk.run(desk.outbox.cancel(id))
    assert not desk.run(desk.outbox.cancel(id + 1))
    assert desk.states == {}


def test_what_was_never_sent_expires_at_its_time_without_any_courier() -> None:
    desk = Desk()
    desk.post("a", expires_at=desk.clock.now.wall + 100.0)
    desk.post("b")
    desk.listen()
    desk.pass_time(99.9)
    assert desk.told == []
    desk.pass_time(desk.outbox.policy.check_every)
    assert desk.outcomes == {"a": "REQUEST_EXPIRED NOT_PROCESSED"}
    assert desk.states == {"b": "WAITING"}


def test_what_expired_while_nobody_looked_is_told_first() -> None:
    desk = Desk()
    desk.post("a", expires_at=desk.clock.now.wall + 100.0)
    desk.clock.advance(HOUR)
    desk.listen()
    assert desk.outcomes == {"a": "REQUEST_EXPIRED NOT_PROCESSED"}


def test_what_was_never_sent_ends_when_the_server_would_not_take_it_any_more() -> None:
    policy = OutboxPolicy(retention=1000.0, margin=100.0)
    desk = Desk(policy)
    desk.post("a")
    desk.listen()
    desk.pass_time(899.0)
    assert desk.told == []
    desk.pass_time(6.0)
    assert desk.outcomes == {"a": "STALE NOT_PROCESSED"}


def test_without_a_courier_nobody_judges_what_may_have_been_executed() -> None:
    """Whoever sends may have the answer in its hands."""
    desk = Desk(OutboxPolicy(retention=1000.0, margin=100.0))
    desk.post("a", expires_at=desk.clock.now.wall + 10.0)
    desk.post("b", expires_at=desk.clock.now.wall + 10.0, lane="b")
    run(desk.store.move(1, Posting.WAITING, Posting.SENT))
    run(desk.store.move(2, Posting.WAITING, Posting.SENT))
    run(desk.store.move(2, Posting.SENT, Posting.DOUBTFUL))
    desk.listen()
    desk.pass_time(2000.0)
    assert desk.told == []
    assert desk.states == {"a": "SENT", "b": "DOUBTFUL"}
    assert not desk.run(desk.outbox.cancel(1))
    assert not desk.run(desk.outbox.cancel(2))
