"""docs/message-format.md against bytes that the code makes."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

import pytest

from ratatoskr import CUSTOM_TYPES_FROM, SUITES, XX_AESGCM, XXHFS_AESGCM, Suite, admission, v1
from ratatoskr.channel import encode_alert, encode_h1, encode_record
from ratatoskr.testing import Authority, Pair
from tests.docs.pages import ROOT, layout
from tools import docs, tables

PAGE = ROOT / "docs/message-format.md"
TEXT = PAGE.read_text(encoding="utf-8")
SERVER_NAME = "yggdrasil.test"


def length(cell: str, **known: int) -> int:
    """Bytes of a field: a sum of numbers and of names."""
    return sum(known[term] if term in known else int(term) for term in cell.replace(" ", "").split("+"))


def fields(name: str, data: bytes) -> dict[str, bytes]:
    """The bytes cut as a table says. A field may have the length that an earlier one holds."""
    cut: dict[str, bytes] = {}
    for field, size, value in layout(PAGE, name):
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
    cut = fields("record", encode_record(0x10, b"body"))
    assert cut == {"type": b"\x10", "length": b"\x00\x00\x04", "body": b"body"}


def test_an_alert() -> None:
    record = fields("record", encode_alert(1, 0x01020304))
    assert fields("alert", record["body"])["reference"] == b"\x01\x02\x03\x04"


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
def test_h1(suite: Suite) -> None:
    cut = fields("H1", encode_h1(suite.id, SERVER_NAME))
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
        sizes = [length(size) for _, size, _ in layout(PAGE, "record")[:2]]
        while rest:
            kind, size = rest[0], int.from_bytes(rest[sizes[0] : sum(sizes)], "big")
            yield kind, rest[sum(sizes) : sum(sizes) + size]
            rest = rest[sum(sizes) + size :]


def expected(name: str, suite: Suite, **known: int) -> int:
    """The length of a handshake message by its table."""
    rows = [row for row in layout(PAGE, name) if suite.kem is not None or "hybrid" not in row[2]]
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


def labels_in_code() -> set[str]:
    """Every label that something is signed or derived under."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes) and b"ratatoskr-v1" in node.value:
                found.add(node.value.rstrip(b"\0").decode())
    return found


def test_every_label_is_on_the_page_and_none_besides() -> None:
    text = re.sub(r"```python.*?```", "", TEXT, flags=re.DOTALL)
    assert set(re.findall(r'"(ratatoskr-v1[ a-z-]*)"', text)) - {"ratatoskr-v1 "} == labels_in_code() - {
        "ratatoskr-v1 "
    }
    assert {'"session-id"', '"resume"'} <= set(re.findall(r'"[a-z-]+"', text))


@pytest.mark.parametrize(
    ("file", "messages"),
    [
        ("connection.proto", (v1.SessionLimits, v1.ServerHello, v1.ConnectionRequest, v1.ConnectionResponse)),
        ("control.proto", (v1.Flight, v1.Hop, v1.Seal, v1.Control, v1.Disconnect)),
        ("message.proto", (v1.RatatoskrRequest, v1.RatatoskrResponse, v1.Error, v1.FieldViolation)),
        ("receipt.proto", (v1.Receipt,)),
        ("identity.proto", (v1.IdentityCertificate, v1.CertificateBody, v1.CertificateRequestBody)),
    ],
)
def test_the_schema_tables_have_every_field(file: str, messages: tuple[type, ...]) -> None:
    found = {name: rows for name, _, rows in docs.definitions((docs.PROTO / file).read_text(encoding="utf-8"))}
    for message in messages:
        descriptor = message.DESCRIPTOR  # type: ignore[attr-defined]
        listed = [(int(row[0]), row[1].strip("`")) for row in found[descriptor.name] if row[2] != "reserved"]
        assert listed == [(field.number, field.name) for field in descriptor.fields]
        assert all(row[3] or row[2] == "reserved" for row in found[descriptor.name])


def test_numbers_in_the_prose_are_those_of_the_code() -> None:
    numbers = {what: f"{value:,.0f}" for what, value, _ in tables.CONSTANTS}
    assert f"padded to a multiple of {admission._ANSWER_MULTIPLE} bytes" in TEXT.replace("\n", " ")
    assert f"Types from {CUSTOM_TYPES_FROM} are for custom kinds" in TEXT
    assert numbers["certificates that a peer shows"] == "2", "the prose says: at most one issuer"
