"""Serializers and validators back to back: whatever is said, in whatever flights, arrives once, in order, provable."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.messages import MessageSerializer, MessageValidator, Received
from tests.unit.messages.support import (
    CLIENT,
    NOW_MS,
    authorized,
    custom,
    envelope,
    found,
    payment,
    search,
    serializer,
    validator,
    verify_key,
)

Message = v1.RatatoskrRequest | v1.RatatoskrResponse


class Part(NamedTuple):
    """What goes into one flight, and what happens before it."""

    messages: list[Message]
    seal: bool
    sender_stops: bool
    receiver_stops: bool


def needs_seal(messages: Sequence[Message]) -> bool:
    return any(each.type != v1.MESSAGE_TYPE_MARKETPLACE_REQUEST and each.operation != 2 for each in messages)


texts = st.text(max_size=30)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(search, texts),
    st.builds(search, metadata=st.lists(st.builds(v1.MetadataEntry, name=texts, value=texts), max_size=3)),
    st.builds(payment, st.text("ABC 123", min_size=1, max_size=35)),
    st.builds(custom, st.just(2), st.builds(v1.GoAway, reason=texts).map(v1.GoAway.SerializeToString)),
    st.builds(found, request_number=st.integers(0, 1 << 63), replayed=st.booleans()),
    st.builds(authorized, request_number=st.integers(0, 1 << 63), request_leaf=st.binary(min_size=32, max_size=32)),
    st.builds(found, error=st.builds(v1.Error, code=st.integers(0, 20), message=texts)),
)
parts = st.builds(Part, st.lists(messages, max_size=4), st.booleans(), st.booleans(), st.booleans())


def say(sending: MessageSerializer, opening: MessageValidator, part: Part) -> Sequence[Received]:
    seal = part.seal or needs_seal(part.messages)
    flight = sending.pack(part.messages, signed_at_ms=NOW_MS if seal else None, ack=len(part.messages))
    opened = opening.open(flight)
    assert opened.ack == len(part.messages)
    assert sending.position == opening.position
    assert opening.unsealed == sending.unsealed
    return opened.messages


@given(st.lists(parts, max_size=6))
def test_what_is_said_is_what_arrives_and_can_be_proved(conversation: list[Part]) -> None:
    sending, opening = serializer(), validator()
    arrived: list[Received] = []
    lost = 0
    for part in conversation:
        if part.sender_stops:
            sending = serializer(sending.position)
        if part.receiver_stops:
            # Evidence of a span that is open when a validator stops is its successor's to lose.
            lost = max(lost, opening.position.number if opening.unsealed else 0)
            opening = validator(opening.position)
        arrived.extend(say(sending, opening, part))
    said = [each for part in conversation for each in part.messages]
    assert [each.message for each in arrived] == said
    assert [each.number for each in arrived] == list(range(1, len(said) + 1))
    assert [each.envelope for each in arrived] == [envelope(each) for each in said]
    for received in arrived:
        receipt = received.evidence.receipt()
        if received.number > opening.position.sealed:
            assert receipt is None
        elif received.number > lost:
            assert receipt is not None
        if receipt is not None:
            receipt.verify(verify_key(CLIENT))
            assert (receipt.number, receipt.envelope) == (received.number, received.envelope)


@given(st.lists(messages, max_size=6), st.lists(st.integers(0, 6), max_size=4), st.integers(0, 6))
def test_the_chain_does_not_depend_on_how_messages_are_divided(said: list[Message], cuts: list[int], at: int) -> None:
    whole, divided = serializer(), serializer()
    whole.pack(said, signed_at_ms=NOW_MS)
    edges = [0, *sorted(cut for cut in cuts if cut <= len(said)), len(said)]
    for start, end in pairwise(edges):
        divided.pack(said[start:end], signed_at_ms=NOW_MS if start >= at else None)
    assert divided.position[:2] == whole.position[:2]


@pytest.mark.parametrize("stops_at", range(5))
def test_a_stopped_serializer_goes_on_from_its_position(stops_at: int) -> None:
    said = [search("a"), payment("B"), search("c"), search("d")]
    sending, opening = serializer(), validator()
    for at, each in enumerate(said):
        if at == stops_at:
            sending = serializer(sending.position)
        opening.open(sending.pack([each], signed_at_ms=NOW_MS if needs_seal([each]) else None))
    straight = serializer()
    for each in said:
        straight.pack([each], signed_at_ms=NOW_MS if needs_seal([each]) else None)
    assert sending.position == straight.position == opening.position
