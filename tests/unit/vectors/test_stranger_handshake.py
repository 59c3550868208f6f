"""Handshakes and records, by a stranger: every value after every step, from both ends; every refusal."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

from tests.unit.vectors.files import identity, load, rule, what
from tests.vectors.stranger import admission, certificates, noise, records

FILE = load("handshakes.json")
SUITES = {vector["suite"]: vector for vector in FILE["handshakes"]}
each_handshake = pytest.mark.parametrize("vector", FILE["handshakes"], ids=what)


def of(vector: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(vector.get(name, ""))


def end(vector: dict[str, Any], *, client: bool) -> noise.Handshake:
    """One end that has not begun."""
    who = "client" if client else "server"
    return noise.Handshake(
        vector["suite"],
        noise.h1(vector["suite"], vector["server_name"].encode()),
        client,
        noise.Secrets(
            identity(vector[who])["exchange_private"],
            of(vector, f"{who}_ephemeral"),
            of(vector, "kem_seed"),
            (of(vector, "kem_ciphertext"), of(vector, "kem_shared")),
        ),
    )


def test_every_suite_is_there() -> None:
    assert list(SUITES) == list(noise.NAMES)
    assert [vector["name"] for vector in SUITES.values()] == list(noise.NAMES.values())


@each_handshake
def test_both_ends_hold_what_the_vector_says_after_every_step(vector: dict[str, Any]) -> None:
    client, server = end(vector, client=True), end(vector, client=False)
    h1 = client.h1

    assert h1 + client.write(1) == of(vector, "m1")
    server.read(1, of(vector, "m1")[len(h1) :])
    payload_2 = of(vector, "b2") + of(vector, "sig_s")
    assert server.write(2, lambda _: payload_2) == of(vector, "m2")
    client.read(2, of(vector, "m2"))
    assert client.payloads[2][0] == payload_2
    payload_3 = of(vector, "b3") + of(vector, "sig_c")
    assert client.write(3, lambda _: payload_3) == of(vector, "m3")
    server.read(3, of(vector, "m3"))
    assert server.payloads[3][0] == payload_3

    for each in (client, server):
        assert [asdict(step) for step in each.steps] == vector["steps"]
        assert each.h == of(vector, "h")
        assert each.prk == of(vector, "prk")
        assert each.export(b"session-id") == of(vector, "session_id")
        assert each.export(b"resume") == of(vector, "resume_secret")
        assert each.split() == (of(vector, "client_key"), of(vector, "server_key"))


@each_handshake
def test_the_kem_key_decapsulates_what_the_vector_holds(vector: dict[str, Any]) -> None:
    if not noise.hybrid(vector["suite"]):
        assert "kem_seed" not in vector
        return
    key = MLKEM768PrivateKey.from_seed_bytes(of(vector, "kem_seed"))
    assert key.decapsulate(of(vector, "kem_ciphertext")) == of(vector, "kem_shared")


@each_handshake
def test_both_payloads_are_signed_and_read_well(vector: dict[str, Any]) -> None:
    steps = {(step["message"], step["token"]): bytes.fromhex(step["h"]) for step in vector["steps"]}
    for who, label, body, signature, h in (
        ("server", b"ratatoskr-v1 server-auth", "b2", "sig_s", steps[2, "es"]),
        ("client", b"ratatoskr-v1 device-auth", "b3", "sig_c", steps[3, "se"]),
    ):
        own = identity(vector[who])
        signed = noise.transcript(label, h, of(vector, body))
        assert certificates.verifies(own["signing_public"], of(vector, signature), signed)
        assert Ed25519PrivateKey.from_private_bytes(own["signing_seed"]).sign(signed) == of(vector, signature)
    hello, request = admission.hello(of(vector, "b2")), admission.request(of(vector, "b3"))
    assert request["suites"] == [vector["suite"]]
    assert hello["request_bytes"] >= len(of(vector, "m3"))


@pytest.mark.parametrize("case", FILE["refused"], ids=lambda case: f"{case['message']}-{case['what']}")
def test_what_must_be_refused_is_refused_by_its_rule(case: dict[str, Any]) -> None:
    vector, sent = SUITES[case["suite"]], bytes.fromhex(case["sent"])
    assert rule(partial(read, vector, case["message"], sent)) == case["rule"] != ""


def read(vector: dict[str, Any], message: int, sent: bytes) -> None:
    """Take in a message, after those of the vector, and say what an end would say then."""
    client, server = end(vector, client=True), end(vector, client=False)
    if message == 1:
        _, _, rest = noise.read_h1(sent, [vector["suite"]])
        server.read(1, rest)
        server.write(2)
        return
    client.write(1)
    if message == 2:
        client.read(2, sent)
        client.write(3)
        return
    server.read(1, of(vector, "m1")[len(server.h1) :])
    server.write(2, lambda _: of(vector, "b2") + of(vector, "sig_s"))
    server.read(3, sent)


PROOFS = FILE["proofs"]


@pytest.mark.parametrize("case", PROOFS["signatures"], ids=what)
def test_a_proof_is_of_both_keys(case: dict[str, Any]) -> None:
    own = identity(PROOFS["by"])
    signed = noise.transcript(PROOFS["label"].encode(), of(case, "h"), of(case, "body"))
    if of(case, "static") != own["exchange_public"]:
        assert case["rule"] == "proof.exchange"
    else:
        good = certificates.verifies(own["signing_public"], of(case, "signature"), signed)
        assert case["rule"] == ("" if good else "proof.signature")


# Records

RECORDS = load("records.json")


@pytest.mark.parametrize("vector", RECORDS["directions"], ids=lambda vector: vector["cipher"])
def test_records_are_protected_and_opened_through_changes_of_key(vector: dict[str, Any]) -> None:
    suite = {"AES-256-GCM": 0x11, "ChaCha20-Poly1305": 0x12}[vector["cipher"]]
    sends, reads = records.Direction(suite, of(vector, "key")), records.Direction(suite, of(vector, "key"))
    for counter, entry in enumerate(vector["records"]):
        record = of(entry, "record")
        assert entry["counter"] == counter == reads.counter
        assert sends.protect(entry["type"], of(entry, "plaintext")) == record
        assert reads.open(record[0], record[:4], record[4:]) == of(entry, "plaintext")
        if "next_key" in entry:
            assert reads.key == of(entry, "next_key") != of(vector, "key")
    assert sum("next_key" in entry for entry in vector["records"]) == 2
    for entry in vector["forged"]:
        record, cipher = of(entry, "record"), records.Direction(suite, of(vector, "key"))
        assert rule(partial(cipher.open, record[0], record[:4], record[4:])) == entry["rule"] == "record.forged"


@pytest.mark.parametrize("case", RECORDS["streams"], ids=what)
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_a_stream_is_cut_into_records(case: dict[str, Any], chunk: int) -> None:
    """However it comes: what was found so far is found again, and one rule is broken or none."""
    longest = {int(kind, 16): length for kind, length in RECORDS["longest"].items()}
    stream = of(case, "stream")
    found, broken = list[list[Any]](), ""
    for length in (*range(0, len(stream), chunk), len(stream)):
        found = []
        broken = rule(lambda part=stream[:length], found=found: _collect(part, longest, found))  # type: ignore[misc]
        assert found == case["records"][: len(found)]
        assert broken in {"", case["rule"]}
    assert (found, broken) == (case["records"], case["rule"])


def _collect(stream: bytes, longest: dict[int, int], found: list[list[Any]]) -> None:
    for kind, _, body in records.cut(stream, longest):
        found.append([kind, body.hex()])


@pytest.mark.parametrize("case", RECORDS["alerts"], ids=what)
def test_an_alert_is_a_code_and_a_reference(case: dict[str, Any]) -> None:
    body = of(case, "body")
    if len(body) != 6:
        assert case["rule"] == "record.alert"
        return
    assert case["rule"] == ""
    assert (int.from_bytes(body[:2], "big"), int.from_bytes(body[2:], "big")) == (case["code"], case["reference"])
