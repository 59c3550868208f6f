"""Any bytes, in any chunks, in every state of both roles: nothing is raised, and one Closed is the end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratatoskr.channel import RecordType, encode_record
from ratatoskr.connection import State
from ratatoskr.errors import Fault
from ratatoskr.events import ConnectionRequested, Opened, RequestFailed, RequestReceived, ResponseReceived
from ratatoskr.limits import Limits
from tests.attacks.hostile import CLIENT, SIDES, HostilePeer, make_victim
from tests.attacks.situations import SITUATIONS, bring
from tests.attacks.victim import Victim, cut

OVER = {State.CLOSING, State.CLOSED}

types = st.sampled_from([*map(int, RecordType), 0, 5, 0x12, 0xFF])
records = st.builds(encode_record, types, st.binary(max_size=300))
headers = st.builds(lambda type, length: bytes([type]) + length.to_bytes(3, "big"), types, st.integers(0, 0xFFFFFF))
streams = st.lists(st.one_of(records, headers, st.binary(max_size=64)), max_size=5).map(b"".join)
chunkings = st.lists(st.integers(1, 40), max_size=4)


@pytest.mark.parametrize(("side", "state"), SITUATIONS)
@given(stream=streams, chunks=chunkings, pauses=st.lists(st.sampled_from([0.0, 1.0, 20.0, 100.0]), max_size=3))
@settings(max_examples=60)
def test_any_bytes_end_in_at_most_one_closed(
    side: str, state: State, stream: bytes, chunks: list[int], pauses: list[float]
) -> None:
    peer = bring(side, state)
    victim = peer.victim
    before = len(victim.events)
    victim.feed(stream, chunks)
    for seconds in pauses:
        victim.advance(seconds)
    victim.finish()
    new = victim.events[before:]
    assert not [event for event in new if isinstance(event, ConnectionRequested | Opened | RequestReceived)]
    if state in (State.OPEN, State.DRAINING):
        assert sum(isinstance(event, RequestFailed | ResponseReceived) for event in new) == 2
    assert not victim.closed or not victim.closed.clean or state in OVER


@pytest.mark.parametrize(("side", "state"), [row for row in SITUATIONS if row[1] not in OVER])
@pytest.mark.parametrize("type", [*RecordType, 0x00, 0x05, 0x12, 0xFF], ids=lambda type: f"{type:#04x}")
def test_every_record_type_in_every_state(side: str, state: State, type: int) -> None:
    """Ten bytes of zeros: a record that the state does not know, or one with nothing true in it."""
    victim = bring(side, state).victim
    victim.feed(encode_record(type, bytes(10)))
    closed = victim.finish()
    assert closed.fault in {
        Fault.RECORD_MALFORMED,
        Fault.RECORD_TOO_LONG,
        Fault.RECORD_FORGED,
        Fault.REFUSED,
    }
    assert closed.rule


@pytest.mark.parametrize(("side", "state"), [row for row in SITUATIONS if row[1] not in OVER])
def test_a_header_is_judged_before_its_body_comes(side: str, state: State) -> None:
    """The longest length that four bytes can name never makes the connection wait for it."""
    for type in range(256):
        victim = bring(side, state).victim
        victim.feed(bytes([type]) + b"\xff\xff\xff")
        closed = victim.finish()
        assert closed.rule in {"record.type", "record.length"}, f"{type:#04x}: {closed}"
        assert not victim.connection._reader.buffered


@pytest.mark.parametrize(("side", "state"), SITUATIONS)
def test_no_more_is_held_than_one_record(side: str, state: State) -> None:
    """A megabyte in chunks, of which every beginning is plausible: what waits is at most what the state may read."""
    victim = bring(side, state).victim
    longest = max(victim.connection._machine.allowed.values(), default=0)
    for type, allowed in [*victim.connection._machine.allowed.items()] or [(0x10, 1 << 18)]:
        victim = bring(side, state).victim
        stream = bytes([type]) + allowed.to_bytes(3, "big") + bytes(1 << 20)
        for chunk in cut(stream, [4096]):
            victim.connection.receive(chunk)
            victim.drain()
            assert victim.connection._reader.buffered <= longest + 4
    victim.finish()


@pytest.mark.parametrize("side", SIDES)
def test_bytes_after_the_end_are_dropped_unread(side: str) -> None:
    for state in sorted(OVER, key=lambda state: state.name):
        victim: Victim = bring(side, state).victim
        seen = len(victim.events)
        victim.connection.receive(bytes(1 << 20))
        assert not victim.connection._reader.buffered
        victim.drain()
        victim.eof()
        victim.eof()
        assert [event for event in victim.events[seen:] if event is not victim.closed] == []


@pytest.mark.parametrize("side", SIDES)
@given(stream=streams, chunks=chunkings.filter(bool))
@settings(max_examples=60)
def test_whole_and_in_pieces_end_the_same_way(side: str, stream: bytes, chunks: list[int]) -> None:
    state = State.GREETED if side == CLIENT else State.LISTENING
    ends = []
    for sizes in ([], chunks, [1]):
        victim = bring(side, state).victim
        victim.feed(stream, sizes)
        closed = victim.finish()
        ends.append((closed.fault, closed.rule, closed.detail))
    assert len(set(ends)) == 1


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("own", "theirs"), [(9000, 8000), (8000, 9000)])
def test_a_data_record_is_as_long_as_was_negotiated(side: str, own: int, theirs: int) -> None:
    """The smaller of both announcements, to the byte."""
    small = {"envelope_bytes": 4000}
    for length, verdict in ((7999, None), (8000, None), (8001, (Fault.RECORD_TOO_LONG, "record.length"))):
        victim = make_victim(side, limits=Limits(record_bytes=own, **small))
        HostilePeer(victim, limits=Limits(record_bytes=theirs, **small)).open()
        victim.feed(b"\x10" + length.to_bytes(3, "big"))
        assert victim.verdict() == verdict
