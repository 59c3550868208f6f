"""Records in a byte stream: any cut, every limit, bounded memory, the codec of alerts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr.channel import Alert, RecordReader, RecordType, encode_alert, encode_record, parse_alert
from ratatoskr.errors import Fault, LocalProtocolError, ProtocolFault
from ratatoskr.limits import MAX_RECORD_BYTES

DATA_ONLY = {RecordType.DATA: 100, RecordType.DATA_REKEY: 100}


def outcome(chunks: Iterable[bytes], limits: dict[RecordType, int], *, greedy: bool = True) -> list[object]:
    """All that a reader makes of a stream: records, then whether one has begun, or the fault."""
    reader = RecordReader()
    seen: list[object] = []
    try:
        for chunk in chunks:
            reader.feed(chunk)
            while greedy and (record := reader.next(limits.get)):
                seen.append(record)
        while record := reader.next(limits.get):
            seen.append(record)
    except ProtocolFault as fault:
        return [*seen, fault.rule]
    return [*seen, reader.partial]


def one_by_one(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def test_a_record_is_type_length_and_body() -> None:
    record = encode_record(RecordType.M2, b"hello")
    assert record == b"\x02\x00\x00\x05hello"
    reader = RecordReader()
    reader.feed(record)
    assert reader.next({RecordType.M2: 5}.get) == (RecordType.M2, b"\x02\x00\x00\x05", b"hello")
    assert reader.next(DATA_ONLY.get) is None
    assert not reader.partial


@pytest.mark.parametrize("length", [0, 1, MAX_RECORD_BYTES - 1, MAX_RECORD_BYTES])
def test_a_record_in_clear_of_any_allowed_length_is_written(length: int) -> None:
    assert encode_record(RecordType.M1, bytes(length)) == b"\x01" + length.to_bytes(3, "big") + bytes(length)


def test_a_record_in_clear_past_the_greatest_length_is_misuse() -> None:
    with pytest.raises(LocalProtocolError):
        encode_record(RecordType.M1, bytes(MAX_RECORD_BYTES + 1))


streams = st.lists(
    st.tuples(st.sampled_from([RecordType.DATA, RecordType.DATA_REKEY]), st.binary(max_size=100)), max_size=8
).map(lambda records: b"".join(encode_record(*record) for record in records))


@given(
    stream=streams,
    rest=st.binary(max_size=120),
    places=st.lists(st.integers(0, 2000), max_size=12),
    greedy=st.booleans(),
)
def test_the_cuts_of_the_stream_mean_nothing(stream: bytes, rest: bytes, places: list[int], greedy: bool) -> None:
    """Whole records, then anything: whole, byte by byte, and cut anywhere, read at once or late."""
    whole = outcome([stream + rest], DATA_ONLY)
    assert outcome(one_by_one(stream + rest), DATA_ONLY, greedy=greedy) == whole
    assert outcome(cut(stream + rest, places), DATA_ONLY, greedy=greedy) == whole


@given(chunks=st.lists(st.binary(max_size=50), max_size=10))
def test_any_bytes_give_records_or_one_fault(chunks: list[bytes]) -> None:
    assert outcome(chunks, dict.fromkeys(RecordType, 60)) == outcome(
        one_by_one(b"".join(chunks)), dict.fromkeys(RecordType, 60)
    )


@pytest.mark.parametrize("kind", range(256))
def test_only_the_types_that_the_state_allows_come_through(kind: int) -> None:
    reader = RecordReader()
    reader.feed(bytes([kind, 0, 0, 0]))
    if kind in DATA_ONLY:
        record = reader.next(DATA_ONLY.get)
        assert record is not None
        assert record[0] is RecordType(kind)
    else:
        with pytest.raises(ProtocolFault) as caught:
            reader.next(DATA_ONLY.get)
        assert caught.value.fault is Fault.RECORD_MALFORMED


@pytest.mark.parametrize(("length", "fits"), [(99, True), (100, True), (101, False), (0xFFFFFF, False)])
def test_the_limit_of_a_type_is_exact_and_judged_on_the_header_alone(length: int, fits: bool) -> None:
    reader = RecordReader()
    reader.feed(b"\x10" + length.to_bytes(3, "big"))
    if fits:
        assert reader.next(DATA_ONLY.get) is None
        reader.feed(bytes(length))
        assert reader.next(DATA_ONLY.get) is not None
    else:
        with pytest.raises(ProtocolFault) as caught:
            reader.next(DATA_ONLY.get)
        assert caught.value.fault is Fault.RECORD_TOO_LONG


def test_a_state_that_allows_nothing_any_more_refuses_the_next_header() -> None:
    reader = RecordReader()
    reader.feed(encode_record(RecordType.M1, b"1") + encode_record(RecordType.M1, b"2"))
    assert reader.next({RecordType.M1: 1}.get) is not None
    with pytest.raises(ProtocolFault):
        reader.next({RecordType.M3: 1}.get)


def test_after_a_fault_nothing_is_held_and_the_fault_stays() -> None:
    reader = RecordReader()
    reader.feed(b"\x10\xff\xff\xff" + bytes(1000))
    for _ in range(3):
        with pytest.raises(ProtocolFault, match="RECORD_TOO_LONG"):
            reader.next(DATA_ONLY.get)
        assert (reader.buffered, reader.partial) == (0, False)
        reader.feed(bytes(1000))


@pytest.mark.parametrize("begun", [1, 3, 4, 5, 13])
def test_a_record_that_has_begun_shows(begun: int) -> None:
    record = encode_record(RecordType.DATA, bytes(10))
    reader = RecordReader()
    reader.feed(record + record[:begun])
    assert reader.next(DATA_ONLY.get) is not None
    assert reader.next(DATA_ONLY.get) is None
    assert (reader.partial, reader.buffered) == (True, begun)
    reader.feed(record[begun:])
    assert reader.next(DATA_ONLY.get) is not None
    assert (reader.partial, reader.buffered) == (False, 0)


def test_a_callers_buffer_may_change_after_it_was_fed() -> None:
    reader = RecordReader()
    chunk = bytearray(encode_record(RecordType.DATA, b"same"))
    reader.feed(chunk)
    chunk[:] = bytes(len(chunk))
    assert reader.next(DATA_ONLY.get) == (RecordType.DATA, b"\x10\0\0\x04", b"same")


def test_a_chunk_of_many_records_is_not_copied_for_each() -> None:
    stream = encode_record(RecordType.DATA, b"x" * 10) * 100
    reader = RecordReader()
    reader.feed(stream)
    for _ in range(99):
        reader.next(DATA_ONLY.get)
        assert reader._buffer is stream
    reader.next(DATA_ONLY.get)
    assert reader._buffer == b""


def test_a_record_in_many_chunks_grows_in_one_place() -> None:
    record = encode_record(RecordType.DATA, bytes(200_000))
    reader = RecordReader()
    limits = {RecordType.DATA: 200_000}
    reader.feed(record[:16_384])
    assert reader.next(limits.get) is None
    reader.feed(record[16_384:32_768])
    growing = reader._buffer
    for start in range(32_768, len(record), 16_384):
        assert reader.next(limits.get) is None
        assert reader._buffer is growing
        reader.feed(record[start : start + 16_384])
    whole = reader.next(limits.get)
    assert whole == (RecordType.DATA, record[:4], record[4:])
    assert [type(part) for part in whole[1:]] == [bytes, bytes]
    assert reader.buffered == 0


# --- alerts ----------------------------------------------------------------------------------------------------------


def test_an_alert_is_a_code_and_a_reference() -> None:
    assert encode_alert(4401, 0x7F3A) == b"\x1f\0\0\x06" + b"\x11\x31" + b"\0\0\x7f\x3a"
    assert parse_alert(encode_alert(4401, 0x7F3A)[4:]) == Alert(4401, 0x7F3A)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF))
def test_an_alert_survives(code: int, reference: int) -> None:
    assert parse_alert(encode_alert(code, reference)[4:]) == (code, reference)


@pytest.mark.parametrize("length", [0, 5, 7, 100])
def test_an_alert_of_another_length_is_malformed(length: int) -> None:
    with pytest.raises(ProtocolFault) as caught:
        parse_alert(bytes(length))
    assert caught.value.fault is Fault.RECORD_MALFORMED
