"""records.json: records of each cipher around a change of key, streams that are cut, and what must be refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ratatoskr.channel import SUITES, RecordCipher, RecordReader, RecordType, encode_alert, parse_alert
from ratatoskr.errors import ProtocolFault
from tests.vectors.cast import secret
from tests.vectors.stranger.records import Direction

CIPHERS = {"AES-256-GCM": 0x11, "ChaCha20-Poly1305": 0x12}


def refused(step: Callable[[], object]) -> str:
    """The rule by which the implementation refuses; nothing where it does not."""
    try:
        step()
    except ProtocolFault as fault:
        return fault.rule
    return ""


def direction(name: str, number: int) -> dict[str, Any]:
    """One direction, from its first record on."""
    key = secret(f"traffic key {name}")
    cipher, by_hand = RecordCipher(SUITES[number], key), Direction(number, key)
    kinds = [
        RecordType.RESPONSE,
        RecordType.DATA,
        RecordType.DATA_REKEY,
        RecordType.DATA,
        RecordType.DATA_REKEY,
        RecordType.DATA,
    ]
    records = []
    for counter, kind in enumerate(kinds):
        plaintext = secret(f"record {counter}", 23 * counter)
        record = cipher.protect(kind, plaintext)
        assert by_hand.protect(kind, plaintext) == record
        entry = {"type": int(kind), "counter": counter, "plaintext": plaintext.hex(), "record": record.hex()}
        records.append(entry | ({"next_key": by_hand.key.hex()} if kind is RecordType.DATA_REKEY else {}))
    return {"cipher": name, "key": key.hex(), "records": records, "forged": forged(number, key, records)}


def forged(number: int, key: bytes, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What does not open as the first record."""
    first, second = (bytes.fromhex(records[at]["record"]) for at in (0, 1))
    cases = {
        "a changed bit in the body": first[:-1] + bytes([first[-1] ^ 1]),
        "another type": b"\x10" + first[1:],
        "the second record": second,
        "fifteen bytes": first[:3] + b"\x0f" + first[4:19],
        "nothing": first[:3] + b"\0",
    }
    found = []
    for what, record in cases.items():
        rule = refused(lambda r=record: RecordCipher(SUITES[number], key).open(r[0], r[:4], r[4:]))  # type: ignore[misc]
        assert rule == "record.forged", what
        found.append({"what": what, "record": record.hex(), "rule": rule})
    return found


LONGEST = {RecordType.DATA: 300, RecordType.DATA_REKEY: 300, RecordType.ALERT: 6}


def streams() -> list[dict[str, Any]]:
    """Streams, what may come on them, and what is found before a rule is broken."""
    one, two = b"\x10\0\0\5first", b"\x11\0\0\6second"
    cases = {
        "two records": one + two,
        "a record and a half": one + two[:7],
        "half a header": one + two[:3],
        "the longest body": b"\x10\0\1\x2c" + secret("a body", 300),
        "a body of one byte more": one + b"\x10\0\1\x2d",
        "an empty body": b"\x10\0\0\0" + one,
        "a type that may not come": one + b"\1\0\0\5first",
        "a type that there is not": b"\x12\0\0\5first",
        "an alert": encode_alert(1, 0xC0FFEE00),
        "a long alert": b"\x1f\0\0\7" + bytes(7),
    }
    found = []
    for what, stream in cases.items():
        reader, cut, rule = RecordReader(), list[list[Any]](), ""
        reader.feed(stream)
        try:
            while (record := reader.next(LONGEST.get)) is not None:
                cut.append([int(record[0]), record[2].hex()])
        except ProtocolFault as fault:
            rule = fault.rule
        found.append({"what": what, "stream": stream.hex(), "records": cut, "rule": rule})
    return found


def alerts() -> list[dict[str, Any]]:
    """Bodies of ALERTs."""
    bodies = {
        "an alert": bytes.fromhex("0001c0ffee00"),
        "code 7": bytes.fromhex("000700000001"),
        "five bytes": bytes(5),
    }
    found = []
    for what, body in bodies.items():
        rule = refused(lambda body=body: parse_alert(body))  # type: ignore[misc]
        said = {} if rule else parse_alert(body)._asdict()
        found.append({"what": what, "body": body.hex(), "rule": rule, **said})
    return found


def make() -> dict[str, Any]:
    """records.json"""
    return {
        "about": "Protected records around changes of key, streams and where they are cut, alerts.",
        "directions": [direction(name, number) for name, number in CIPHERS.items()],
        "longest": {f"{kind:02x}": length for kind, length in LONGEST.items()},
        "streams": streams(),
        "alerts": alerts(),
    }
