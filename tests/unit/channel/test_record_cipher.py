"""Protected records: counters, keys and their limits, and every changed byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr.channel import (
    MAX_PLAINTEXT_BYTES,
    SUITES,
    XX_AESGCM,
    RecordCipher,
    RecordReader,
    RecordType,
    Suite,
)
from ratatoskr.channel import records as records_module
from ratatoskr.channel.noise import CipherState, rekeyed
from ratatoskr.errors import Fault, LocalProtocolError, ProtocolFault
from ratatoskr.limits import MAX_RECORD_BYTES

KEY = bytes(range(32))
DATA, REKEY, RESPONSE = RecordType.DATA, RecordType.DATA_REKEY, RecordType.RESPONSE
LAST = 2**64 - 2

each_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)


def pair(suite: Suite = XX_AESGCM, **limits: int) -> tuple[RecordCipher, RecordCipher]:
    return RecordCipher(suite, KEY, **limits), RecordCipher(suite, KEY, **limits)


def lenient_sender() -> RecordCipher:
    """A sender that changes its key only when told."""
    return RecordCipher(XX_AESGCM, KEY)


def open_record(cipher: RecordCipher, record: bytes) -> bytes:
    return cipher.open(record[0], record[:4], record[4:])


def fault_of(cipher: RecordCipher, record: bytes) -> Fault:
    with pytest.raises(ProtocolFault) as caught:
        open_record(cipher, record)
    return caught.value.fault


# --- form ------------------------------------------------------------------------------------------------------------


@each_suite
def test_a_record_is_the_aead_under_counter_and_header(suite: Suite) -> None:
    sender, receiver = pair(suite)
    for counter, (kind, plaintext) in enumerate([(RESPONSE, b"hello"), (DATA, b""), (DATA, bytes(1000))]):
        record = sender.protect(kind, plaintext)
        header = bytes([kind]) + (len(plaintext) + 16).to_bytes(3, "big")
        assert record == header + suite.aead(KEY).encrypt(suite.nonce(counter), plaintext, header)
        assert open_record(receiver, record) == plaintext
        assert sender.counter == receiver.counter == counter + 1


@given(st.lists(st.binary(max_size=300), max_size=30), st.integers(1, 4), st.integers(316, 1000))
def test_whatever_is_protected_opens_through_every_change_of_key(
    plaintexts: list[bytes], records_per_key: int, bytes_per_key: int
) -> None:
    sender, receiver = pair(records_per_key=records_per_key, bytes_per_key=bytes_per_key)
    reader = RecordReader()
    reader.feed(b"".join(sender.protect(DATA, plaintext) for plaintext in plaintexts))
    opened = []
    while record := reader.next({DATA: 400, REKEY: 400}.get):
        opened.append(receiver.open(*record))
    assert opened == plaintexts


@pytest.mark.parametrize("length", [MAX_PLAINTEXT_BYTES - 1, MAX_PLAINTEXT_BYTES])
def test_the_longest_plaintext_fills_the_longest_record(length: int) -> None:
    sender, receiver = pair()
    record = sender.protect(DATA, bytes(length))
    assert int.from_bytes(record[1:4], "big") == len(record) - 4 == length + 16 <= MAX_RECORD_BYTES
    assert open_record(receiver, record) == bytes(length)


def test_a_longer_plaintext_is_misuse_and_changes_nothing() -> None:
    sender, receiver = pair()
    with pytest.raises(LocalProtocolError):
        sender.protect(DATA, bytes(MAX_PLAINTEXT_BYTES + 1))
    assert sender.counter == 0
    assert open_record(receiver, sender.protect(DATA, b"x")) == b"x"


# --- forgery ---------------------------------------------------------------------------------------------------------


@each_suite
def test_every_changed_bit_of_a_record_is_a_forgery(suite: Suite) -> None:
    record = RecordCipher(suite, KEY).protect(DATA, b"a flight")
    for at in range(len(record)):
        for bit in range(8):
            changed = bytearray(record)
            changed[at] ^= 1 << bit
            assert fault_of(RecordCipher(suite, KEY), bytes(changed)) is Fault.RECORD_FORGED


def test_every_shorter_and_longer_body_is_a_forgery() -> None:
    record = RecordCipher(XX_AESGCM, KEY).protect(DATA, b"a flight")
    for body in [*(record[4:end] for end in range(4, len(record))), record[4:] + b"\0"]:
        with pytest.raises(ProtocolFault, match="RECORD_FORGED"):
            RecordCipher(XX_AESGCM, KEY).open(DATA, record[:4], body)


@pytest.mark.parametrize("order", [[1], [0, 0], [0, 2], [0, 1, 0]], ids=["lost", "twice", "gap", "old"])
def test_a_record_out_of_its_place_is_a_forgery(order: list[int]) -> None:
    sender, receiver = pair()
    sent = [sender.protect(DATA, bytes([number])) for number in range(3)]
    for number in order[:-1]:
        open_record(receiver, sent[number])
    assert fault_of(receiver, sent[order[-1]]) is Fault.RECORD_FORGED


def test_after_a_forgery_the_cipher_is_dead() -> None:
    sender, receiver = pair()
    record = sender.protect(DATA, b"right")
    assert fault_of(receiver, record[:-1] + bytes([record[-1] ^ 1])) is Fault.RECORD_FORGED
    assert receiver.counter == 0
    for _ in range(2):
        assert fault_of(receiver, record) is Fault.RECORD_FORGED


# --- change of key ---------------------------------------------------------------------------------------------------


@each_suite
def test_the_key_changes_after_a_rekey_record_and_the_counter_runs_on(suite: Suite) -> None:
    sender, receiver = pair(suite)
    first, second = sender.protect(REKEY, b"last of the old"), sender.protect(DATA, b"first of the new")
    assert first[0] == REKEY
    old = CipherState(suite, KEY)
    assert old.decrypt(first[:4], first[4:]) == b"last of the old"
    new = CipherState(suite, rekeyed(suite, suite.aead(KEY).encrypt))
    new.counter = 1
    assert new.decrypt(second[:4], second[4:]) == b"first of the new"
    assert [open_record(receiver, record) for record in (first, second)] == [b"last of the old", b"first of the new"]


def test_a_record_under_the_old_key_is_a_forgery() -> None:
    sender, receiver = pair()
    open_record(receiver, sender.protect(REKEY, b""))
    stale = CipherState(XX_AESGCM, KEY)
    stale.counter = 1
    header = b"\x10\0\0\x11"
    assert fault_of(receiver, header + stale.encrypt(header, b"x")) is Fault.RECORD_FORGED


def test_the_old_key_is_not_kept() -> None:
    cipher = RecordCipher(XX_AESGCM, KEY)
    before: list[Any] = [cipher._encrypt.__self__, cipher._decrypt.__self__]  # type: ignore[attr-defined]
    cipher.protect(REKEY, b"")
    held = [getattr(value, "__self__", value) for value in (getattr(cipher, name) for name in RecordCipher.__slots__)]
    assert not any(value is old for value in held for old in before)


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_the_sender_changes_its_key_with_the_record_that_reaches_the_limit(limit: int) -> None:
    sender, receiver = pair(records_per_key=limit)
    kinds = []
    for _ in range(3 * limit):
        record = sender.protect(DATA, b"x")
        kinds.append(record[0])
        assert open_record(receiver, record) == b"x"
    assert kinds == ([DATA] * (limit - 1) + [REKEY]) * 3


@pytest.mark.parametrize(("size", "kind"), [(99, DATA), (100, REKEY), (101, REKEY)])
def test_the_sender_changes_its_key_with_the_byte_that_reaches_the_limit(size: int, kind: RecordType) -> None:
    sender, receiver = pair(bytes_per_key=200)
    records = [sender.protect(DATA, bytes(body - 16)) for body in (100, size)]
    assert [record[0] for record in records] == [DATA, kind]
    for record in records:
        open_record(receiver, record)


def test_a_change_by_hand_starts_the_limits_anew() -> None:
    sender, _ = pair(records_per_key=3)
    kinds = [sender.protect(kind, b"")[0] for kind in (DATA, REKEY, DATA, DATA, DATA)]
    assert kinds == [DATA, REKEY, DATA, DATA, REKEY]


def test_a_response_is_never_turned_into_data() -> None:
    sender, receiver = pair(records_per_key=1)
    records = [sender.protect(RESPONSE, b"answer"), sender.protect(DATA, b"flight")]
    assert [record[0] for record in records] == [RESPONSE, REKEY]
    assert [open_record(receiver, record) for record in records] == [b"answer", b"flight"]


@pytest.mark.parametrize(("count", "last"), [(7, DATA), (8, DATA), (8, REKEY)])
def test_the_receiver_gives_a_key_twice_the_senders_records(count: int, last: RecordType) -> None:
    sender, receiver = lenient_sender(), RecordCipher(XX_AESGCM, KEY, records_per_key=4)
    for number in range(count):
        open_record(receiver, sender.protect(last if number == count - 1 else DATA, b""))
    record = sender.protect(DATA, b"")
    if count == 8 and last is DATA:
        assert fault_of(receiver, record) is Fault.KEY_EXHAUSTED
        assert fault_of(receiver, record) is Fault.KEY_EXHAUSTED
        assert receiver.counter == 8
    else:
        assert open_record(receiver, record) == b""


@pytest.mark.parametrize(("size", "fits"), [(199, True), (200, True), (201, False)])
def test_the_receiver_gives_a_key_twice_the_senders_bytes(size: int, fits: bool) -> None:
    sender, receiver = lenient_sender(), RecordCipher(XX_AESGCM, KEY, bytes_per_key=150)
    open_record(receiver, sender.protect(DATA, bytes(100 - 16)))
    record = sender.protect(REKEY, bytes(size - 16))
    if fits:
        assert open_record(receiver, record) == bytes(size - 16)
        assert open_record(receiver, sender.protect(DATA, bytes(250))) == bytes(250)
    else:
        assert fault_of(receiver, record) is Fault.KEY_EXHAUSTED


def test_the_defaults_are_those_of_the_specification() -> None:
    assert (records_module.RECORDS_PER_KEY, records_module.BYTES_PER_KEY) == (2**20, 2**36)
    cipher = RecordCipher(XX_AESGCM, KEY)
    assert (cipher._send_until, cipher._receive_until, cipher._bytes_limit) == (2**20 - 1, 2**21, 2**36)


# --- the last counter ------------------------------------------------------------------------------------------------


def at_counter(counter: int) -> RecordCipher:
    cipher = RecordCipher(XX_AESGCM, KEY)
    cipher._counter = counter
    cipher._use(KEY)
    return cipher


def test_the_last_counter_is_used_and_the_one_after_it_refused() -> None:
    sender, receiver = at_counter(LAST - 1), at_counter(LAST - 1)
    for _ in range(2):
        assert open_record(receiver, sender.protect(DATA, b"x")) == b"x"
    assert sender.counter == receiver.counter == 2**64 - 1
    for _ in range(2):
        with pytest.raises(ProtocolFault) as caught:
            sender.protect(DATA, b"x")
        assert caught.value.fault is Fault.KEY_EXHAUSTED
    header = b"\x10\0\0\x11"
    body = XX_AESGCM.aead(KEY).encrypt(XX_AESGCM.nonce(2**64 - 1), b"x", header)
    assert fault_of(receiver, header + body) is Fault.KEY_EXHAUSTED


def test_a_change_of_key_does_not_help_a_counter_that_is_used_up() -> None:
    sender, receiver = at_counter(LAST), at_counter(LAST)
    open_record(receiver, sender.protect(REKEY, b""))
    with pytest.raises(ProtocolFault, match="KEY_EXHAUSTED"):
        sender.protect(DATA, b"")
    assert fault_of(receiver, b"\x10\0\0\x10" + bytes(16)) is Fault.KEY_EXHAUSTED


def test_no_secret_is_shown() -> None:
    cipher = RecordCipher(XX_AESGCM, KEY)
    assert KEY.hex() not in repr(cipher)
    assert repr(KEY)[2:-1] not in repr(cipher)
