"""The small parts of a session, each against a model: bucket, outbox, metadata."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr.errors import Fault, LocalProtocolError, ProtocolFault
from ratatoskr.limits import Limits
from ratatoskr.session.bucket import Bucket
from ratatoskr.session.metadata import check_metadata
from ratatoskr.session.outbox import Outbox

# Bucket


def test_a_bucket_starts_full_and_gains_by_the_second() -> None:
    bucket = Bucket(rate=10.0, burst=20)
    assert [bucket.take(5.0) for _ in range(21)] == [True] * 20 + [False]
    assert not bucket.take(5.09)
    assert bucket.take(5.11)
    assert not bucket.take(5.11)
    assert [bucket.take(1000.0) for _ in range(21)] == [True] * 20 + [False]


@given(st.lists(st.integers(0, 400), max_size=60), st.integers(1, 20), st.integers(1, 8))
def test_a_bucket_lets_no_more_through_than_rate_and_burst(steps: list[int], rate: int, burst: int) -> None:
    """Over any stretch of time; and a caller who keeps below the rate is never refused. Time in 1/100 s."""
    bucket, now, taken = Bucket(float(rate), burst), 0, []
    for step in steps:
        now += step
        granted = bucket.take(now / 100)
        if granted:
            taken.append(now)
        if step * rate > 100 or not taken:
            assert granted
    for start in range(len(taken)):
        for end in range(start, len(taken)):
            seconds = (taken[end] - taken[start]) / 100
            assert end - start + 1 <= burst + seconds * rate + 1e-6


def test_time_that_stands_still_or_goes_back_gains_nothing() -> None:
    bucket = Bucket(rate=10.0, burst=1)
    assert bucket.take(5.0)
    assert not bucket.take(5.0)
    assert not bucket.take(4.0)


# Outbox


@given(st.lists(st.one_of(st.sampled_from(["add", "own", "again", "rewind"]), st.integers(-2, 6)), max_size=40))
def test_an_outbox_against_a_list(steps: list[str | int]) -> None:
    """``own`` adds a message whose owner wants to know; a number is an ack, counted from the last one; ``rewind`` goes
    half way back to the last ack; ``again`` sends one of those once more.
    """
    outbox: Outbox[str] = Outbox(b"chain 0")
    owners: list[str | None] = []
    acked = sent = 0
    for step in steps:
        if step in ("add", "own"):
            if sent == len(owners):  # what is to be sent again goes first
                owners.append(f"owner {len(owners)}" if step == "own" else None)
                sent += 1
                outbox.add(f"envelope {sent}".encode(), owners[-1], f"chain {sent}".encode())
        elif step == "rewind":
            sent = (acked + len(owners)) // 2
            outbox.rewind(sent)
        elif step == "again":
            if outbox.unsent:
                sent += 1
                assert outbox.first_unsent() == f"envelope {sent}".encode()
                outbox.sent_again()
        else:
            number = acked + int(step)
            if acked <= number <= sent:
                assert outbox.acknowledge(number) == [each for each in owners[acked:number] if each]
                acked = number
            else:
                with pytest.raises(ProtocolFault, match=f"ack {number}; acknowledged {acked}, sent {sent}") as caught:
                    outbox.acknowledge(number)
                assert (caught.value.fault, caught.value.rule) == (Fault.ACK_INVALID, "flight.ack")
        assert (outbox.acked, outbox.sent, outbox.last) == (acked, sent, len(owners))
        assert outbox.unsent == len(owners) - sent
        assert len(outbox) == len(owners) - acked
        assert outbox.bytes == sum(len(f"envelope {n}") for n in range(acked + 1, len(owners) + 1))
        for number in range(-1, len(owners) + 2):
            held = acked <= number <= len(owners)
            assert outbox.chain_at(number) == (f"chain {number}".encode() if held else None)


# Metadata


def test_metadata_that_the_peer_takes() -> None:
    metadata = {"user-agent": "räven/1", "a.b_c-9": "", "x" * 64: "v" * 1024}
    assert check_metadata(metadata, Limits()) is metadata


@pytest.mark.parametrize("name", ["", "A", "ä", "a b", "a:b", "x" * 65, "a\n", "a\x00"])
def test_names_are_short_and_lowercase(name: str) -> None:
    with pytest.raises(LocalProtocolError, match="use 1 to 64 of a-z"):
        check_metadata({name: ""}, Limits())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x" * 1025, "1025 bytes; at most 1024"),
        ("é" * 513, "1026 bytes; at most 1024"),
        ("\ud800", "is no text"),
        ("a\udc80b", "is no text"),
    ],
    ids=["too long", "too long in bytes", "half a pair", "half a pair inside"],
)
def test_values_are_short_text(value: str, message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        check_metadata({"name": value}, Limits())


@pytest.mark.parametrize(("count", "allowed"), [(2, True), (3, True), (4, False)])
def test_entries_are_counted(count: int, allowed: bool) -> None:
    metadata = {f"n{at}": "" for at in range(count)}
    limits = Limits(metadata_entries=3)
    if allowed:
        assert check_metadata(metadata, limits) == metadata
    else:
        with pytest.raises(LocalProtocolError, match="metadata has 4 entries"):
            check_metadata(metadata, limits)


@pytest.mark.parametrize(("more", "allowed"), [(-1, True), (0, True), (1, False)])
def test_bytes_are_counted_with_a_fee_for_each_entry(more: int, allowed: bool) -> None:
    metadata = {"a": "", "b": "x" * (200 - 2 * 32 - 2 + more)}
    limits = Limits(metadata_bytes=200)
    if allowed:
        assert check_metadata(metadata, limits) == metadata
    else:
        with pytest.raises(LocalProtocolError, match="charged 201 bytes"):
            check_metadata(metadata, limits)
