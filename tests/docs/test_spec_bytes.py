"""The layouts of the specification against bytes that the code makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ratatoskr import SUITES, XX_AESGCM, XXHFS_AESGCM, Suite, admission
from ratatoskr.channel import encode_alert, encode_h1, encode_record
from ratatoskr.testing import Authority, Pair
from tests.docs.pages import SPEC, layout

RECORDS, HANDSHAKE = SPEC / "records.md", SPEC / "handshake.md"
SERVER_NAME = "yggdrasil.test"


def length(cell: str, **known: int) -> int:
    """Bytes of a field: a sum of numbers and of names."""
    return sum(known[term] if term in known else int(term) for term in cell.replace(" ", "").split("+"))


def fields(page: Path, name: str, data: bytes) -> dict[str, bytes]:
    """The bytes cut as a table says. A field may have the length that an earlier one holds."""
    cut: dict[str, bytes] = {}
    for field, size, value in layout(page, name):
        end = length(size, **{key: int.from_bytes(held, "big") for key, held in cut.items() if len(held) <= 3})
        key = field.strip("`")
        cut[key], data = data[:end], data[end:]
        assert len(cut[key]) == end
        if value.startswith('"'):
            assert cut[key] == value.strip('"').encode()
        elif re.match(r"\d+(,|$)", value):
            assert int.from_bytes(cut[key], "big") == int(value.split(",")[0])
    assert data == b""
    return cut


def test_a_record() -> None:
    cut = fields(RECORDS, "record", encode_record(0x10, b"body"))
    assert cut == {"type": b"\x10", "length": b"\x00\x00\x04", "body": b"body"}


def test_an_alert() -> None:
    record = fields(RECORDS, "record", encode_alert(1, 0x01020304))
    assert fields(RECORDS, "alert", record["body"])["reference"] == b"\x01\x02\x03\x04"


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
def test_h1(suite: Suite) -> None:
    cut = fields(HANDSHAKE, "H1", encode_h1(suite.id, SERVER_NAME))
    assert (cut["suite"], cut["server_name"]) == (suite.id.to_bytes(2, "big"), SERVER_NAME.encode())


class Tapped:
    """A handshake whose records are read on their way."""

    def __init__(self, suite: Suite) -> None:
        authority = Authority()
        suites = (suite,)
        client, server = authority.client_config(suites=suites), authority.server_config(SERVER_NAME, suites=suites)
        self.pair = Pair(client=client, server=server, server_name=SERVER_NAME)
        self.stream = {"client": b"", "server": b""}
        for end in (self.pair.client, self.pair.server):
            end.link.tamper = self._tap(end.name)
        self.chains = client.identity.wire_chain(), server.identity.wire_chain()
        self.pair.open()

    def _tap(self, name: str) -> Callable[[bytes], bytes]:
        def tap(data: bytes) -> bytes:
            self.stream[name] += data
            return data

        return tap

    def records(self, name: str) -> Iterator[tuple[int, bytes]]:
        """Type and body of each record, found by the page's own table."""
        rest = self.stream[name]
        sizes = [length(size) for _, size, _ in layout(RECORDS, "record")[:2]]
        while rest:
            kind, size = rest[0], int.from_bytes(rest[sizes[0] : sum(sizes)], "big")
            yield kind, rest[sum(sizes) : sum(sizes) + size]
            rest = rest[sum(sizes) + size :]


def expected(name: str, suite: Suite, **known: int) -> int:
    """The length of a handshake message by its table."""
    rows = [row for row in layout(HANDSHAKE, name) if suite.kem is not None or "hybrid" not in row[2]]
    return sum(length(size, **known) for _, size, _ in rows)


@pytest.mark.parametrize("suite", [XXHFS_AESGCM, XX_AESGCM], ids=lambda suite: suite.name)
def test_the_handshake_has_the_lengths_of_its_tables(suite: Suite) -> None:
    tapped = Tapped(suite)
    from_client, from_server = list(tapped.records("client")), list(tapped.records("server"))
    assert [kind for kind, _ in from_client[:2]] == [0x01, 0x03]
    assert [kind for kind, _ in from_server[:2]] == [0x02, 0x04]
    assert len(from_client[0][1]) == expected("M1", suite, name_len=len(SERVER_NAME))

    limits = tapped.pair.server.connection._config.limits
    now = tapped.pair.clock.now
    b2 = admission.ServerHello(
        tuple(tapped.chains[1]), now.wall, limits.handshake_bytes - 1, limits.accept_timeout
    ).encode()
    assert len(from_server[0][1]) == expected("M2", suite, B2=len(b2))

    b3 = admission.ConnectionRequest(
        tuple(tapped.chains[0]), (suite.id,), (1,), b"", admission.announced(limits)
    ).encode(bytes([1] * 16), now.wall_ms)
    assert len(from_client[1][1]) == expected("M3", suite, B3=len(b3))
    assert (len(from_server[1][1]) - 16) % 512 == 0, "the answer is padded"
