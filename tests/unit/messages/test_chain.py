"""Chain, leaves and seals against what the specification says of their bytes."""

from __future__ import annotations

from hashlib import sha256

import pytest

from ratatoskr import v1
from ratatoskr.messages import Direction, Position
from ratatoskr.messages.chain import extend, leaf, leaf_prefix, link
from ratatoskr.messages.seals import SealContext
from tests.unit.messages.support import (
    CLIENT,
    NOW_MS,
    OTHER_SESSION_ID,
    SERVER,
    SESSION_ID,
    chain_by_hand,
    envelope,
    kid_by_hand,
    leaf_by_hand,
    payment,
    search,
    serializer,
    verify_key,
)

ENVELOPES = [envelope(search()), envelope(payment()), b"\x01", b""]


@pytest.mark.parametrize("direction", Direction)
def test_the_chain_is_the_one_of_the_specification(direction: Direction) -> None:
    start = Position.start(SESSION_ID, direction)
    assert start == (0, chain_by_hand([], direction=direction), 0)
    prefix = leaf_prefix(SESSION_ID, direction)
    leaves = [leaf(prefix, number, each) for number, each in enumerate(ENVELOPES, 1)]
    assert leaves == [leaf_by_hand(number, each, direction=direction) for number, each in enumerate(ENVELOPES, 1)]
    assert extend(start.chain, leaves) == chain_by_hand(ENVELOPES, direction=direction)
    assert extend(start.chain, []) == start.chain
    assert link(start.chain, leaves[0]) == sha256(b"\x02" + start.chain + leaves[0]).digest()


def test_a_leaf_depends_on_session_direction_number_and_bytes() -> None:
    one = leaf(leaf_prefix(SESSION_ID, 0), 1, b"\x01abc")
    others = [
        leaf(leaf_prefix(OTHER_SESSION_ID, 0), 1, b"\x01abc"),
        leaf(leaf_prefix(SESSION_ID, 1), 1, b"\x01abc"),
        leaf(leaf_prefix(SESSION_ID, 0), 2, b"\x01abc"),
        leaf(leaf_prefix(SESSION_ID, 0), 1, b"\x01abd"),
    ]
    assert len({one, *others}) == 5


def test_an_inner_node_is_no_leaf() -> None:
    """The prefixes 00 and 02 keep a chain value from being passed off as a message."""
    chain, next_leaf = bytes(32), bytes([1]) * 32
    assert link(chain, next_leaf) != sha256(b"\x00" + chain + next_leaf).digest()


def test_the_other_direction() -> None:
    assert Direction.FROM_CLIENT.other is Direction.FROM_SERVER
    assert Direction.FROM_SERVER.other is Direction.FROM_CLIENT


def test_a_key_id_is_the_one_of_the_specification() -> None:
    assert CLIENT.kid == verify_key(CLIENT).kid == kid_by_hand(CLIENT)


def test_a_seal_signs_the_bytes_of_the_specification() -> None:
    context = SealContext(SESSION_ID, CLIENT.kid, SERVER.kid, Direction.FROM_CLIENT)
    chain = chain_by_hand(ENVELOPES)
    expected = (
        b" " * 64
        + b"ratatoskr-v1 seal\x00\x01"
        + SESSION_ID
        + kid_by_hand(CLIENT)
        + kid_by_hand(SERVER)
        + b"\x00"
        + b"\x00\x00\x00\x00\x00\x00\x00\x04"
        + chain
        + NOW_MS.to_bytes(8, "big")
    )
    assert context.signed_bytes(4, chain, NOW_MS) == expected


def test_a_serializer_packs_numbers_chains_and_seals_by_the_specification() -> None:
    sending = serializer()
    first = v1.Flight.FromString(sending.pack([search()], ack=7))
    assert (first.first_number, list(first.envelopes), first.ack) == (1, [envelope(search())], 7)
    assert not first.HasField("seal")
    assert (sending.number, sending.unsealed) == (1, 1)

    messages = [payment("A"), payment("B")]
    second = v1.Flight.FromString(sending.pack(messages, signed_at_ms=NOW_MS))
    envelopes = [envelope(search()), envelope(payment("A")), envelope(payment("B"))]
    chain = chain_by_hand(envelopes)
    assert (second.first_number, list(second.envelopes)) == (2, envelopes[1:])
    assert (second.seal.signature_suite, second.seal.signed_at_ms) == (1, NOW_MS)
    signed = SealContext(SESSION_ID, CLIENT.kid, SERVER.kid, 0).signed_bytes(3, chain, NOW_MS)
    assert verify_key(CLIENT).verify(second.seal.signature, signed)
    assert sending.position == (3, chain, 3)
    assert sending.unsealed == 0

    alone = v1.Flight.FromString(sending.pack([], signed_at_ms=NOW_MS))
    assert (alone.first_number, len(alone.envelopes)) == (4, 0)
    assert sending.position == (3, chain, 3)


def test_append_returns_the_leaf_of_the_next_number() -> None:
    sending = serializer()
    assert [sending.append(each) for each in ENVELOPES] == [
        leaf_by_hand(number, each) for number, each in enumerate(ENVELOPES, 1)
    ]
