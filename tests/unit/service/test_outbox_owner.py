"""Whose an outbox is: what was sent under one name is never asked for under another."""

from __future__ import annotations

import pytest

from ratatoskr.errors import LocalProtocolError
from ratatoskr.identity import Certificate, Identity, Role
from ratatoskr.service import OutboxInUse
from ratatoskr.service.outbox.owner import owner_of, shown
from ratatoskr.testing.authority import Authority
from tests.unit.service.desk import BUSY, LOST, POLICY, Desk
from tests.unit.service.support import PROVIDER

AUTHORITY = Authority("owners")
TILL = AUTHORITY.device("till-7").certificate
OTHER = AUTHORITY.device("till-8").certificate


def self_issued(seed: bytes) -> Identity:
    return Identity.self_issued(
        lambda size: (seed * size)[:size], role=Role.PROVIDER, subject="shop", not_before=0.0, not_after=1e9
    )


def desk_of(first: Desk, certificate: Certificate) -> Desk:
    """Another process with the same outbox, which asks as another identity."""
    return Desk(POLICY, first.store, first.clock, certificate=certificate)


def till(*texts: str) -> Desk:
    desk = Desk(POLICY, certificate=TILL)
    for text in texts:
        desk.post(text)
    desk.with_courier()
    return desk


@pytest.mark.parametrize("certificate", [OTHER, PROVIDER.certificate])
@pytest.mark.parametrize("trouble", ["waits", "is being sent", "is doubtful"])
def test_posts_without_an_outcome_are_not_sent_under_another_name(trouble: str, certificate: Certificate) -> None:
    desk = till("a")
    if trouble != "is being sent":
        desk.wire.only.fail(LOST if trouble == "is doubtful" else BUSY)
        desk.settle()
    desk.crash()
    other = desk_of(desk, certificate)
    with pytest.raises(LocalProtocolError, match=r"connect as DEVICE `till-7` until they have one"):
        other.with_courier()
    other.pass_time(100.0)
    assert other.wire.asks == []
    again = desk_of(desk, TILL)
    again.with_courier()
    assert again.wire.only.text == "a", "who was refused holds nobody up"


def test_an_outbox_in_which_everything_has_its_outcome_may_be_sent_under_another_name() -> None:
    desk = till("a")
    desk.wire.only.answer("paid")
    assert desk.end_block().is_over()
    other = desk_of(desk, OTHER)
    other.post("b")
    with pytest.raises(LocalProtocolError, match="till-7"):
        other.with_courier()
    assert other.run(other.outbox.cancel(2))
    other.with_courier()
    other.post("c")
    assert other.wire.only.text == "c"
    other.listen()
    assert other.outcomes == {"a": "answer paid", "b": "CANCELLED NOT_PROCESSED"}


def test_nobody_changes_its_name_while_another_one_sends() -> None:
    """Between two posts it is empty."""
    desk = till()
    other = desk_of(desk, OTHER)
    with pytest.raises(OutboxInUse):
        other.with_courier()
    desk.post("a")
    desk.crash()
    with pytest.raises(LocalProtocolError, match="till-7"):
        desk_of(desk, OTHER).with_courier()


def test_an_identity_that_is_renewed_with_new_keys_goes_on() -> None:
    renewed = AUTHORITY.device("till-7").certificate
    assert renewed.kid != TILL.kid
    desk = till("a")
    desk.crash()
    again = desk_of(desk, renewed)
    again.with_courier()
    assert again.wire.only.text == "a"


def test_names_are_told_apart() -> None:
    certificates = [
        *(AUTHORITY.issue(Role.DEVICE, name, tenant=of).certificate for name in ("a", "b") for of in ("", "a", "b")),
        AUTHORITY.device("a of `b`").certificate,
        AUTHORITY.provider("a").certificate,
    ]
    assert len({owner_of(each) for each in certificates}) == len(certificates)
    assert {shown(owner_of(each)) for each in certificates[:3]} == {
        "DEVICE `a`",
        "DEVICE `a` of `a`",
        "DEVICE `a` of `b`",
    }


def test_who_certified_itself_is_its_key() -> None:
    one, other = self_issued(b"1").certificate, self_issued(b"2").certificate
    assert owner_of(one) != owner_of(other)
    assert shown(owner_of(one)) == f"PROVIDER `self-issued:{one.kid.hex()}`"
