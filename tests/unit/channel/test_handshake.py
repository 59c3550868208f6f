"""The handshake: agreement, order of steps, and what happens to every changed byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr.channel import (
    SUITES,
    XX_AESGCM,
    XX_CHACHAPOLY,
    XXHFS_AESGCM,
    ClientHandshake,
    RecordType,
    ServerHandshake,
    Suite,
    encode_h1,
    first_message_bytes,
    parse_h1,
)
from ratatoskr.channel.handshake import Exporter
from ratatoskr.errors import LocalProtocolError, ProtocolFault
from tests.unit.channel import support
from tests.unit.channel.support import SIGNED_2, SIGNED_3, refusal, refused

each_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
two_suites = pytest.mark.parametrize("suite", [XXHFS_AESGCM, XX_CHACHAPOLY], ids=["XXhfs", "XX"])


def answer(server: ServerHandshake, m1: bytes) -> bytes:
    server.read_m1(m1)
    return server.m2(lambda _: SIGNED_2)


def changes(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Every byte changed, in its lowest and in its highest bit."""
    for at in range(len(message)):
        for bit in (0x01, 0x80):
            yield at, message[:at] + bytes([message[at] ^ bit]) + message[at + 1 :]


# --- agreement -------------------------------------------------------------------------------------------------------


@each_suite
def test_both_sides_end_with_the_same_secrets(suite: Suite) -> None:
    client, server = support.client(suite), support.server(*SUITES.values())
    seen: list[bytes] = []

    def signing(payload: bytes) -> Callable[[bytes], bytes]:
        def make(h: bytes) -> bytes:
            seen.append(h)
            return payload

        return make

    server.read_m1(client.m1())
    assert server.server_name == support.NAME
    assert server.suite is client.suite is suite
    second = client.read_m2(server.m2(signing(SIGNED_2)))
    assert second == (SIGNED_2[:-64], SIGNED_2[-64:], seen[0])
    assert client.server_static == support.SERVER_PUBLIC
    third = server.read_m3(client.m3(signing(SIGNED_3)))
    assert third == (SIGNED_3[:-64], SIGNED_3[-64:], seen[1])
    assert server.client_static == support.CLIENT_PUBLIC
    left, right = client.establish(), server.establish()

    assert (left.h, left.session_id, left.resume_secret) == (right.h, right.session_id, right.resume_secret)
    assert len({*seen, left.h, left.session_id, left.resume_secret}) == 5
    for sender, receiver in ((left.send, right.receive), (right.send, left.receive)):
        record = sender.protect(RecordType.DATA, b"flight")
        assert receiver.open(RecordType.DATA, record[:4], record[4:]) == b"flight"
    assert left.send.protect(RecordType.DATA, b"x") != right.send.protect(RecordType.DATA, b"x")


@each_suite
def test_the_first_message_has_the_exact_length_of_its_suite(suite: Suite) -> None:
    body = support.client(suite).m1()
    assert len(body) == first_message_bytes(suite, len(support.NAME))
    for wrong in (body[:-1], body + b"\0", body + bytes(32)):
        assert refusal(support.server(suite).read_m1, wrong) == "handshake.length"
    with pytest.raises(ProtocolFault):
        support.server(suite).read_m1(body[:7])


def test_the_longest_first_message_is_that_of_the_largest_suite() -> None:
    assert support.server(*SUITES.values()).m1_limit == first_message_bytes(XXHFS_AESGCM, 255) == 8 + 255 + 32 + 1184
    assert support.server(XX_AESGCM).m1_limit == first_message_bytes(XX_AESGCM, 255) == 8 + 255 + 32


def test_a_private_suite_runs() -> None:
    private = replace(XX_AESGCM, id=0xFF01, name="Noise_XX_25519_AESGCM_SHA256")
    client, server, m3 = support.up_to_m3(private)
    server.read_m3(m3)
    assert client.establish().h == server.establish().h
    assert refusal(support.server(*SUITES.values()).read_m1, support.client(private).m1()) == "handshake.suite"


@two_suites
def test_a_handshake_with_other_ephemerals_has_other_secrets(suite: Suite) -> None:
    client, server, m3 = support.up_to_m3(suite)
    server.read_m3(m3)
    other, fresh = support.client(suite, "other client"), support.server(suite, label="other server")
    fresh.read_m1(other.m1())
    other.read_m2(fresh.m2(lambda _: SIGNED_2))
    other.m3(lambda _: SIGNED_3)
    assert client.establish().session_id != other.establish().session_id


# --- H1 --------------------------------------------------------------------------------------------------------------


def test_h1_is_byte_for_byte_what_the_specification_says() -> None:
    assert encode_h1(0x1234, "a.b") == b"RTSK\x01\x12\x34\x03a.b"
    assert parse_h1(b"RTSK\x01\x12\x34\x03a.brest") == ((0x1234, "a.b"), b"rest")


@pytest.mark.parametrize(
    "name", ["a", "a" * 255, "yggdrasil.example", "10.0.0.1", "::1", "xn--bcher-kva.example", "web_1"]
)
def test_a_server_name_survives(name: str) -> None:
    assert parse_h1(encode_h1(1, name)) == ((1, name), b"")


@pytest.mark.parametrize("name", ["", "a" * 256, "Yggdrasil", "bücher", "a b", "a\n", "a\0", "a/b", "\ud800"])
def test_a_bad_server_name_is_misuse_here_and_a_fault_from_the_peer(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode_h1(1, name)
    raw = name.encode("utf-8", "surrogatepass")
    if len(raw) < 256:
        assert refusal(parse_h1, b"RTSK\x01\0\x01" + bytes([len(raw)]) + raw) == "handshake.server-name"


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "handshake.short"),
        (b"RTSK\x01\0\x01", "handshake.short"),
        (b"RTSX\x01\0\x01\x01a", "handshake.magic"),
        (b"RTSK\x00\0\x01\x01a", "handshake.version"),
        (b"RTSK\x02\0\x01\x01a", "handshake.version"),
        (b"RTSK\x01\0\x01\x02a", "handshake.server-name"),
    ],
)
def test_a_bad_h1_is_refused(body: bytes, rule: str) -> None:
    assert refusal(parse_h1, body) == rule


@given(st.binary(max_size=400) | st.binary(max_size=400).map(lambda tail: b"RTSK\x01" + tail))
def test_no_bytes_make_parse_h1_raise_anything_else(body: bytes) -> None:
    if not refused(parse_h1, body):
        (suite_id, name), rest = parse_h1(body)
        assert encode_h1(suite_id, name) + rest == body


# --- every byte ------------------------------------------------------------------------------------------------------


@two_suites
def test_every_changed_byte_of_m1_ends_the_handshake_by_m2(suite: Suite) -> None:
    m1 = support.client(suite).m1()
    survived = set()
    for at, changed in changes(m1):
        client, server = support.client(suite), support.server(suite)
        client.m1()
        if refused(answer, server, changed):
            continue
        survived.add(at)
        server = support.server(suite)
        assert refusal(client.read_m2, answer(server, changed)) == "noise.forged"
    # Only a server name that is another valid name, and keys, can go unnoticed until then.
    assert min(survived) == 8


@two_suites
def test_every_changed_byte_of_m2_is_refused_at_once(suite: Suite) -> None:
    _, _, m2 = support.up_to_m2(suite)
    for _, changed in changes(m2):
        client = support.client(suite)
        client.m1()
        assert refusal(client.read_m2, changed).startswith("noise.")


@two_suites
def test_every_changed_byte_of_m3_is_refused_at_once(suite: Suite) -> None:
    for at in range(len(support.up_to_m3(suite)[2])):
        _, server, m3 = support.up_to_m3(suite)
        changed = m3[:at] + bytes([m3[at] ^ 0x80]) + m3[at + 1 :]
        assert refusal(server.read_m3, changed) == "noise.forged"


@two_suites
def test_messages_of_another_handshake_are_refused(suite: Suite) -> None:
    _, _, m2 = support.up_to_m2(suite)
    client = support.client(suite, "another")
    client.m1()
    assert refusal(client.read_m2, m2) == "noise.forged"
    _, _, m3 = support.up_to_m3(suite)
    server = support.server(suite, label="another")
    server.read_m1(support.client(suite).m1())
    server.m2(lambda _: SIGNED_2)
    assert refusal(server.read_m3, m3) == "noise.forged"


def test_another_server_name_or_suite_in_the_prologue_is_noticed() -> None:
    """A downgrade in clear, when both are accepted."""
    client, server = support.client(XX_AESGCM), support.server(XX_AESGCM, XX_CHACHAPOLY)
    m1 = client.m1()
    server.read_m1(m1.replace(XX_AESGCM.id.to_bytes(2, "big"), XX_CHACHAPOLY.id.to_bytes(2, "big"), 1))
    assert refusal(client.read_m2, server.m2(lambda _: SIGNED_2)) == "noise.forged"


# --- hostile peers ---------------------------------------------------------------------------------------------------


@two_suites
def test_ones_own_static_key_is_refused_from_a_server(suite: Suite) -> None:
    client = support.client(suite)
    mirror = ServerHandshake(static=support.CLIENT_KEY, suites=[suite], entropy=support.entropy("mirror"))
    mirror.read_m1(client.m1())
    assert refusal(client.read_m2, mirror.m2(lambda _: SIGNED_2)) == "handshake.reflected"


@two_suites
def test_ones_own_static_key_is_refused_from_a_client(suite: Suite) -> None:
    h1 = encode_h1(suite.id, support.NAME)
    mirror, server = support.bare_side(suite, h1, support.SERVER_KEY, initiator=True), support.server(suite)
    mirror.write_tokens()
    server.read_m1(h1 + mirror.write_payload(b""))
    mirror.read_tokens(server.m2(lambda _: SIGNED_2))
    mirror.read_payload()
    mirror.write_tokens()
    assert refusal(server.read_m3, mirror.write_payload(SIGNED_3)) == "handshake.reflected"


@pytest.mark.parametrize("length", [0, 1, 63])
def test_a_payload_without_room_for_a_signature_is_refused(length: int) -> None:
    client, server = support.client(XX_AESGCM), support.server(XX_AESGCM)
    server.read_m1(client.m1())
    assert refusal(client.read_m2, server.m2(lambda _: bytes(length))) == "handshake.signature"
    client, server, m2 = support.up_to_m2(XX_AESGCM)
    client.read_m2(m2)
    assert refusal(server.read_m3, client.m3(lambda _: bytes(length))) == "handshake.signature"


def test_a_signature_alone_is_a_payload() -> None:
    client, server = support.client(XX_AESGCM), support.server(XX_AESGCM)
    server.read_m1(client.m1())
    assert client.read_m2(server.m2(lambda _: bytes(64)))[:2] == (b"", bytes(64))


@given(body=st.binary(max_size=3000))
def test_no_bytes_of_the_peer_raise_anything_else(body: bytes) -> None:
    for suite in (XX_AESGCM, XXHFS_AESGCM):
        client, server, _ = support.up_to_m2(suite)
        h1 = encode_h1(suite.id, "a")
        padded = (h1 + body).ljust(first_message_bytes(suite, 1), b"\x05")[: first_message_bytes(suite, 1)]
        for read, message in (
            (support.server(suite).read_m1, body),
            (partial(answer, support.server(suite)), padded),
            (client.read_m2, body),
            (server.read_m3, body),
        ):
            refused(read, message)


# --- order of steps --------------------------------------------------------------------------------------------------


def steps(side: ClientHandshake | ServerHandshake) -> dict[str, Callable[[], Any]]:
    if isinstance(side, ClientHandshake):
        return {
            "m1": side.m1,
            "read_m2": lambda: side.read_m2(b""),
            "m3": lambda: side.m3(lambda _: SIGNED_3),
            "establish": side.establish,
        }
    return {
        "read_m1": lambda: side.read_m1(b""),
        "m2": lambda: side.m2(lambda _: SIGNED_2),
        "read_m3": lambda: side.read_m3(b""),
        "establish": side.establish,
    }


def check_only(side: ClientHandshake | ServerHandshake, expected: str | None) -> None:
    for name, step in steps(side).items():
        if name != expected:
            with pytest.raises(LocalProtocolError, match=f"{expected or 'a new handshake'} is next"):
                step()


def test_a_step_out_of_order_is_misuse_and_changes_nothing() -> None:
    client, server = support.client(XX_AESGCM), support.server(XX_AESGCM)
    check_only(client, "m1")
    check_only(server, "read_m1")
    m1 = client.m1()
    check_only(client, "read_m2")
    server.read_m1(m1)
    check_only(server, "m2")
    m2 = server.m2(lambda _: SIGNED_2)
    check_only(server, "read_m3")
    client.read_m2(m2)
    check_only(client, "m3")
    m3 = client.m3(lambda _: SIGNED_3)
    check_only(client, "establish")
    server.read_m3(m3)
    check_only(server, "establish")
    assert client.establish().h == server.establish().h
    check_only(client, None)
    check_only(server, None)


def test_a_step_that_fails_ends_the_handshake() -> None:
    client, server, _ = support.up_to_m2(XX_AESGCM)
    refusal(client.read_m2, b"")
    check_only(client, None)
    refusal(server.read_m3, b"")
    check_only(server, None)
    fresh = support.server(XX_AESGCM)
    refusal(fresh.read_m1, b"")
    check_only(fresh, None)


def test_the_peers_static_key_is_there_only_between_its_message_and_the_end() -> None:
    client, server = support.client(XX_AESGCM), support.server(XX_AESGCM)
    with pytest.raises(LocalProtocolError):
        _ = client.server_static
    with pytest.raises(LocalProtocolError):
        _ = server.client_static
    client, server, m3 = support.up_to_m3(XX_AESGCM)
    with pytest.raises(LocalProtocolError):
        _ = server.client_static
    server.read_m3(m3)
    assert server.client_static == support.CLIENT_PUBLIC
    assert client.server_static == support.SERVER_PUBLIC
    client.establish()
    with pytest.raises(LocalProtocolError):
        _ = client.server_static


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_no_secret_is_shown_and_none_is_kept() -> None:
    client, server, m3 = support.up_to_m3(XXHFS_AESGCM)
    server.read_m3(m3)
    noise = client._noise
    assert noise is not None
    established = client.establish()
    assert client._noise is None
    assert noise._local == {}
    text = repr(established) + str(established)
    assert repr(established.resume_secret) not in text
    assert "resume_secret" not in text
    assert established.resume_secret.hex() not in text


def test_exports_are_bound_to_label_context_and_length() -> None:
    client, _, _ = support.up_to_m3(XX_AESGCM)
    assert client._noise is not None
    exporter = Exporter(client._noise)
    assert exporter.export("session-id", b"", 32) == client.establish().session_id
    values = {
        exporter.export(label, context, 32)
        for label in ("resume", "session-id")
        for context in (b"", b"\0", b"context")
    }
    assert len(values) == 6
    assert exporter.export("resume", b"", 64)[:32] == exporter.export("resume", b"", 32)
    assert len(exporter.export("resume", b"", 8160)) == 8160
