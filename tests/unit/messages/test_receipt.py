"""Receipts: what they prove, and that nothing in them can be changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.messages import Receipt, ReceiptRefused
from ratatoskr.messages.receipt import MAX_RECEIPT_BYTES
from tests.unit.messages.support import (
    CLIENT,
    NOW_MS,
    OTHER_SESSION_ID,
    SERVER,
    SESSION_ID,
    STRANGER,
    Forger,
    authorized,
    chain_by_hand,
    envelope,
    field,
    leaf_by_hand,
    payment,
    seal_by_hand,
    search,
    validator,
    verify_key,
)

KEY = verify_key(CLIENT)
ENVELOPES = [envelope(each) for each in (search(), payment(), authorized())]


def receipts(*envelopes: bytes) -> list[Receipt]:
    """Receipts of all messages of one span."""
    messages = validator().open(Forger().flight(*envelopes)).messages
    return [receipt for each in messages if (receipt := each.evidence.receipt())]


FIRST, MIDDLE, LAST = receipts(*ENVELOPES)
THREE = {"first": FIRST, "middle": MIDDLE, "last": LAST}


def refused(receipt: Receipt, key: Any = KEY) -> str:
    with pytest.raises(ReceiptRefused) as caught:
        receipt.verify(key)
    return caught.value.rule


def unreadable(data: bytes) -> str:
    with pytest.raises(ReceiptRefused) as caught:
        Receipt.from_bytes(data)
    return caught.value.rule


def judged(data: bytes) -> str | None:
    """The rule by which bytes are no proof of the client's; None where they are."""
    try:
        Receipt.from_bytes(data).verify(KEY)
    except ReceiptRefused as refusal:
        return refusal.rule
    return None


def changed(receipt: Receipt, **changes: Any) -> Receipt:
    return dataclasses.replace(receipt, **changes)


@pytest.mark.parametrize("receipt", THREE.values(), ids=THREE)
def test_a_receipt_says_what_was_said_where(receipt: Receipt) -> None:
    place = receipt.number - 1
    assert receipt.envelope == ENVELOPES[place]
    assert receipt.message == type(receipt.message).FromString(ENVELOPES[place][1:])
    assert receipt.leaf == leaf_by_hand(receipt.number, receipt.envelope)
    assert receipt.previous_chain == chain_by_hand(ENVELOPES[:place])
    assert receipt.following_leaves == tuple(
        leaf_by_hand(number, each) for number, each in enumerate(ENVELOPES, 1) if number > receipt.number
    )
    assert (receipt.session_id, receipt.direction) == (SESSION_ID, 0)
    assert (receipt.signer, receipt.recipient, receipt.signed_at_ms) == (CLIENT.kid, SERVER.kid, NOW_MS)
    receipt.verify(KEY)


def test_the_message_of_a_receipt_is_a_request_or_a_response() -> None:
    assert isinstance(MIDDLE.message, v1.RatatoskrRequest)
    assert isinstance(LAST.message, v1.RatatoskrResponse)


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"\x00",
        b"\x03abc",
        b"\x01\xff",
        b"\x02\xff",
        b"\x02" + b"\xff" * 5000,
        b"\x02" + field(9, field(6, b"") * 40_000),
    ],
)
def test_what_is_no_message_is_refused(odd: bytes) -> None:
    with pytest.raises(ReceiptRefused) as caught:
        _ = changed(LAST, envelope=odd).message
    assert caught.value.rule == "receipt.envelope"


@pytest.mark.parametrize("receipt", THREE.values(), ids=THREE)
def test_a_receipt_is_saved_and_loaded(receipt: Receipt) -> None:
    assert Receipt.from_bytes(receipt.to_bytes()) == receipt
    assert judged(receipt.to_bytes()) is None
    message = v1.Receipt.FromString(receipt.to_bytes())
    assert (message.version, message.signature_suite) == (1, 1)


@pytest.mark.parametrize("receipt", THREE.values(), ids=THREE)
def test_every_bit_matters(receipt: Receipt) -> None:
    data = receipt.to_bytes()
    survived = []
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        if judged(bytes(flipped)) is None:
            survived.append(bit)
    assert survived == []


@pytest.mark.parametrize("receipt", THREE.values(), ids=THREE)
def test_every_byte_matters(receipt: Receipt) -> None:
    data = receipt.to_bytes()
    for at in range(len(data)):
        assert judged(data[:at]) is not None
        assert judged(data[:at] + data[at + 1 :]) is not None
    assert judged(data + b"\x00") is not None


def tampered() -> Iterator[tuple[str, Receipt]]:
    one, two = FIRST.following_leaves
    stranger = bytes(32)
    yield "a message deleted", changed(FIRST, following_leaves=(two,))
    yield "the last message deleted", changed(FIRST, following_leaves=(one,))
    yield "all deleted", changed(FIRST, following_leaves=())
    yield "two in another order", changed(FIRST, following_leaves=(two, one))
    yield "one inserted at the start", changed(FIRST, following_leaves=(stranger, one, two))
    yield "one inserted at the end", changed(FIRST, following_leaves=(one, two, stranger))
    yield "one said twice", changed(FIRST, following_leaves=(one, one, two))
    yield "one replaced", changed(FIRST, following_leaves=(one, stranger))
    yield "another history", changed(MIDDLE, previous_chain=chain_by_hand([]))
    yield "another place", changed(MIDDLE, number=1)
    yield "another place, with the leaves to match", changed(MIDDLE, number=1, following_leaves=FIRST.following_leaves)
    yield "the other direction", changed(MIDDLE, direction=1)
    yield "another session", changed(MIDDLE, session_id=OTHER_SESSION_ID)
    yield "other words", changed(MIDDLE, envelope=envelope(payment("ANOTHER")))
    yield "a response for a request", changed(MIDDLE, envelope=b"\x02" + MIDDLE.envelope[1:])
    yield "another time", changed(MIDDLE, signed_at_ms=NOW_MS - 1)
    yield "another recipient", changed(MIDDLE, recipient=STRANGER.kid)
    yield "another suite", changed(MIDDLE, signature_suite=2)
    yield "another signature", changed(MIDDLE, signature=bytes(64))
    yield "no signature", changed(MIDDLE, signature=b"")
    yield "half of another receipt", changed(MIDDLE, envelope=LAST.envelope, number=3)


@pytest.mark.parametrize("receipt", [each for _, each in tampered()], ids=[name for name, _ in tampered()])
def test_a_tampered_receipt_proves_nothing(receipt: Receipt) -> None:
    assert refused(receipt) in {"receipt.signature", "receipt.suite"}


@pytest.mark.parametrize("key", [STRANGER, SERVER], ids=["a stranger", "the recipient"])
def test_another_key_is_another_signer(key: Any) -> None:
    assert refused(MIDDLE, verify_key(key)) == "receipt.signer"
    assert refused(changed(MIDDLE, signer=key.kid), verify_key(key)) == "receipt.signature"
    assert refused(changed(MIDDLE, signer=key.kid)) == "receipt.signer"


def test_a_victim_s_seal_is_not_presented_as_one_s_own() -> None:
    """The seal names the signer's key: a second key in the victim's name gains nothing."""
    assert refused(changed(MIDDLE, signer=STRANGER.kid), verify_key(STRANGER)) == "receipt.signature"


def test_a_seal_of_a_suite_that_there_is_not_is_no_proof() -> None:
    """A signer who seals under another suite number makes nothing that a receiver would have taken."""
    chain = chain_by_hand(ENVELOPES[:2])
    odd = changed(MIDDLE, following_leaves=(), signature=seal_by_hand(2, chain, suite=2).signature, signature_suite=2)
    assert refused(odd) == "receipt.suite"
    assert unreadable(odd.to_bytes()) == "receipt.field"


# Equivocation


def test_two_receipts_for_one_place_with_different_words_contradict() -> None:
    (one,) = receipts(envelope(payment("ONE")))
    (two,) = receipts(envelope(payment("TWO")))
    one.verify(KEY)
    two.verify(KEY)
    assert one.contradicts(two)
    assert two.contradicts(one)


def test_two_histories_before_one_place_contradict() -> None:
    """The same words at the same place, after different ones: one of the two peers was told something else."""
    _, one = receipts(envelope(payment("ONE")), envelope(payment()))
    _, two = receipts(envelope(payment("TWO")), envelope(payment()))
    assert one.leaf == two.leaf
    assert one.contradicts(two)


def test_receipts_of_an_honest_signer_never_contradict() -> None:
    """However the same messages are divided into flights and spans."""
    opening, forger = validator(), Forger()
    messages = [each for one in ENVELOPES for each in opening.open(forger.flight(one)).messages]
    one_by_one = [receipt for each in messages if (receipt := each.evidence.receipt())]
    together = [FIRST, MIDDLE, LAST]
    for one in [*one_by_one, *together]:
        for other in [*one_by_one, *together]:
            assert not one.contradicts(other)


@pytest.mark.parametrize(
    "changes",
    [{"signer": STRANGER.kid}, {"session_id": OTHER_SESSION_ID}, {"direction": 1}, {"number": 2}],
    ids=lambda changes: next(iter(changes)),
)
def test_receipts_of_different_places_do_not_contradict(changes: dict[str, Any]) -> None:
    (one,) = receipts(envelope(payment("ONE")))
    (two,) = receipts(envelope(payment("TWO")))
    assert not one.contradicts(changed(two, **changes))


# Reading


@pytest.mark.parametrize(
    ("changes", "readable"),
    [
        ({"number": 0}, False),
        ({"number": 1}, True),
        ({"number": (1 << 64) - 256}, True),
        ({"number": (1 << 64) - 255}, True),
        ({"number": (1 << 64) - 1}, True),
        ({"number": (1 << 64) - 1, "following_leaves": [bytes(32)]}, False),
        ({"number": (1 << 64) - 2, "following_leaves": [bytes(32)]}, True),
        ({"version": 0}, False),
        ({"version": 2}, False),
        ({"signature_suite": 0}, False),
        ({"signature_suite": 2}, False),
        ({"signature_suite": 257}, False),
        ({"direction": 1}, True),
        ({"direction": 2}, False),
        ({"session_id": bytes(31)}, False),
        ({"session_id": bytes(33)}, False),
        ({"previous_chain": bytes(31)}, False),
        ({"signer": bytes(33)}, False),
        ({"recipient": b""}, False),
        ({"signature": bytes(63)}, False),
        ({"signature": bytes(65)}, False),
        ({"following_leaves": [bytes(32)] * 254}, True),
        ({"following_leaves": [bytes(32)] * 255}, True),
        ({"following_leaves": [bytes(32)] * 256}, False),
        ({"following_leaves": [bytes(31)]}, False),
        ({"following_leaves": [bytes(32), b""]}, False),
        ({"envelope": b""}, False),
        ({"envelope": b"\x01"}, True),
        ({"envelope": bytes((1 << 20) - 1024)}, True),
        ({"envelope": bytes((1 << 20) - 1023)}, False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_fields_are_checked_at_their_bounds(changes: dict[str, Any], readable: bool) -> None:
    fields: dict[str, Any] = {
        "version": 1,
        "signature_suite": 1,
        "session_id": SESSION_ID,
        "number": 1,
        "envelope": ENVELOPES[0],
        "previous_chain": bytes(32),
        "signer": bytes(32),
        "recipient": bytes(32),
        "signature": bytes(64),
    }
    data = v1.Receipt(**(fields | changes)).SerializeToString()
    if readable:
        assert Receipt.from_bytes(data).to_bytes() == data
    else:
        assert unreadable(data) == "receipt.field"


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "receipt.field"),
        (b"\xff", "receipt.malformed"),
        (MIDDLE.to_bytes() + field(99, 1), "receipt.canonical"),
        (MIDDLE.to_bytes() + field(4, 0), "receipt.canonical"),
        (MIDDLE.to_bytes() + field(12, MIDDLE.signature), "receipt.canonical"),
        (field(99, bytes(MAX_RECEIPT_BYTES - 6)), "receipt.canonical"),
        (field(99, bytes(MAX_RECEIPT_BYTES - 5)), "receipt.canonical"),
        (field(99, bytes(MAX_RECEIPT_BYTES - 4)), "receipt.length"),
    ],
    ids=["nothing", "no message", "an unknown field", "a default", "a field twice", "shorter", "as long", "too long"],
)
def test_bytes_that_no_receipt_has_are_refused(data: bytes, rule: str) -> None:
    assert unreadable(data) == rule
    with pytest.raises(ReceiptRefused, match=rf"^\[{rule}\] .+"):
        Receipt.from_bytes(data)


def test_the_longest_receipt_is_within_the_length() -> None:
    longest = changed(
        LAST,
        number=(1 << 64) - 256,
        envelope=bytes((1 << 20) - 1024),
        following_leaves=(bytes(32),) * 255,
        signed_at_ms=(1 << 64) - 1,
    )
    assert len(longest.to_bytes()) <= MAX_RECEIPT_BYTES
    assert Receipt.from_bytes(longest.to_bytes()) == longest


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    assert judged(data) is not None


@given(st.sampled_from([FIRST, MIDDLE, LAST]), st.data())
def test_no_changed_bytes_pass(receipt: Receipt, data: st.DataObject) -> None:
    original = receipt.to_bytes()
    at = data.draw(st.integers(0, len(original)))
    changed = original[:at] + data.draw(st.binary(max_size=4)) + original[at + data.draw(st.integers(0, 4)) :]
    assert (judged(changed) is None) == (changed == original)
