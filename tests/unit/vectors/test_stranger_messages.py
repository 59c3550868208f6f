"""Encodings, nonces, chain, seals, receipts and flights, by a stranger."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.unit.vectors.files import identity, load, rule, what
from tests.vectors.stranger import chain, kinds, protobuf
from tests.vectors.stranger.certificates import verifies
from tests.vectors.stranger.flights import LIMITS, Asked, Receiver

ENVELOPES, NONCES, CHAIN = load("envelopes.json"), load("nonces.json"), load("chain.json")
RECEIPTS, FLIGHTS = load("receipts.json"), load("flights.json")


@pytest.mark.parametrize("case", ENVELOPES["encodings"], ids=what)
def test_an_encoding_is_canonical_or_not(case: dict[str, Any]) -> None:
    assert protobuf.verdict(case["message"], bytes.fromhex(case["bytes"])) == case["verdict"]


def test_envelopes_hold_a_message_behind_one_byte() -> None:
    for case, form, name in zip(
        ENVELOPES["envelopes"], (b"\1", b"\2"), ("RatatoskrRequest", "RatatoskrResponse"), strict=True
    ):
        envelope = bytes.fromhex(case["envelope"])
        assert envelope[:1] == form
        assert protobuf.verdict(name, envelope[1:]) == "canonical"


def test_the_kinds_are_those_of_the_page() -> None:
    listed = {
        (kind["type"], kind["operation"]): kinds.Kind(
            kind["request"], kind["response"], kind["sealed"], kind["once"], kind["stream"]
        )
        for kind in NONCES["kinds"]
    }
    assert listed == kinds.KINDS


@pytest.mark.parametrize("case", NONCES["nonces"], ids=lambda c: f"{c['type']}-{c['operation']}-{c['what']}")
def test_a_nonce_follows_from_a_key(case: dict[str, Any]) -> None:
    assert kinds.nonce(case["type"], case["operation"], bytes.fromhex(case["key"])).hex() == case["nonce"]


def test_keys_are_text_bytes_or_decimal_numbers() -> None:
    keys = {case["what"]: bytes.fromhex(case["key"]) for case in NONCES["nonces"]}
    assert keys["text"] == kinds.key_bytes("order-17")
    assert keys["bytes"] == kinds.key_bytes(b"\0\xff")
    assert keys["an integer of 42"] == kinds.key_bytes(42)
    assert keys["an integer of -7"] == kinds.key_bytes(-7)


@pytest.mark.parametrize("case", NONCES["digests"], ids=lambda c: f"{c['type']}-{c['operation']}-{c['what']}")
def test_a_digest_is_of_the_kind_and_the_payload(case: dict[str, Any]) -> None:
    assert kinds.digest(case["type"], case["operation"], bytes.fromhex(case["payload"])).hex() == case["digest"]


# Chain and seals


@pytest.mark.parametrize("vector", CHAIN["directions"], ids=lambda vector: vector["direction"])
def test_a_chain(vector: dict[str, Any]) -> None:
    session_id = bytes.fromhex(CHAIN["session_id"])
    value = chain.start(session_id, vector["direction"])
    assert value.hex() == vector["start"]
    for number, message in enumerate(vector["messages"], 1):
        entry = chain.entry(session_id, vector["direction"], number, bytes.fromhex(message["envelope"]))
        assert (message["number"], message["entry"]) == (number, entry.hex())
        assert chain.leaf_of(entry).hex() == message["leaf"]
        value = chain.link(value, chain.leaf_of(entry))
        assert value.hex() == message["chain"]


@pytest.mark.parametrize("case", CHAIN["seals"], ids=lambda case: f"{case['direction']}-{case['number']}")
def test_a_seal(case: dict[str, Any]) -> None:
    signer, recipient = identity(case["signer"]), identity(case["recipient"])
    (value,) = (
        bytes.fromhex(message["chain"])
        for vector in CHAIN["directions"]
        for message in vector["messages"]
        if (vector["direction"], message["number"]) == (case["direction"], case["number"])
    )
    signed = chain.seal_input(
        bytes.fromhex(CHAIN["session_id"]),
        signer["kid"],
        recipient["kid"],
        case["direction"],
        case["number"],
        value,
        case["signed_at_ms"],
    )
    assert signed.hex() == case["signed"]
    assert len(signed) == 228
    assert Ed25519PrivateKey.from_private_bytes(signer["signing_seed"]).sign(signed).hex() == case["signature"]
    assert verifies(signer["signing_public"], bytes.fromhex(case["signature"]), signed)


# Receipts


@pytest.mark.parametrize("case", RECEIPTS["receipts"], ids=what)
def test_a_receipt(case: dict[str, Any]) -> None:
    data, key = bytes.fromhex(case["bytes"]) + bytes(case["zeros"]), bytes.fromhex(RECEIPTS["keys"][case["key"]])
    assert rule(lambda: chain.verify_receipt(chain.read_receipt(data), key)) == case["rule"]


@pytest.mark.parametrize("case", RECEIPTS["contradictions"], ids=what)
def test_two_receipts_may_contradict_each_other(case: dict[str, Any]) -> None:
    one, other = (chain.read_receipt(bytes.fromhex(each)) for each in case["receipts"])
    place = ("signer", "session_id", "direction", "number")
    said = ("previous_chain", "envelope")
    same_place = all(one[name] == other[name] for name in place)
    assert case["contradict"] is (same_place and any(one[name] != other[name] for name in said))


# Flights


def receiver(case: dict[str, Any]) -> Receiver:
    """The server, before the flight."""
    signer = identity(FLIGHTS["signer"])
    reader = Receiver(
        bytes.fromhex(FLIGHTS["session_id"]),
        FLIGHTS["direction"],
        signer["signing_public"],
        signer["kid"],
        identity(FLIGHTS["recipient"])["kid"],
        LIMITS | case["limits"],
        FLIGHTS["now_ms"],
        sent=case["sent"],
        asked={
            each["number"]: Asked(
                bytes.fromhex(each["leaf"]), (each["type"], each["operation"]), granted=each["granted"]
            )
            for each in case["asked"]
        },
    )
    for flight in case["before"]:
        reader.receive(bytes.fromhex(flight))
    return reader


@pytest.mark.parametrize("case", [*FLIGHTS["taken"], *FLIGHTS["refused"], *FLIGHTS["calls"]], ids=what)
def test_a_flight_is_taken_or_refused_by_its_rule(case: dict[str, Any]) -> None:
    reader = receiver(case)
    before = (reader.number, reader.chain, reader.sealed)
    messages: list[dict[str, Any]] = []
    broken = rule(lambda: messages.extend(reader.receive(bytes.fromhex(case["flight"]))))
    assert broken == case["rule"]
    if broken:
        assert messages == []
        assert case["fault"]
    failed = messages[-1]["failed"].upper().replace(".", "_") if messages else ""
    assert failed == case.get("reason", "")
    if broken.startswith(("envelope.", "seal.", "span.", "request.n", "request.t", "request.m")):
        assert (reader.number, reader.chain, reader.sealed) == before


def test_the_parts_hold_what_they_say() -> None:
    assert {case["rule"] for case in FLIGHTS["taken"] + FLIGHTS["calls"]} == {""}
    assert all(case["rule"] for case in FLIGHTS["refused"])


@pytest.mark.parametrize("case", [case for case in RECEIPTS["receipts"] if not case["rule"]], ids=what)
def test_the_envelope_of_a_good_receipt_is_bound(case: dict[str, Any]) -> None:
    receipt = chain.read_receipt(bytes.fromhex(case["bytes"]) + bytes(case["zeros"]))
    receipt["envelope"] += b"\0"
    key = bytes.fromhex(RECEIPTS["keys"][case["key"]])
    assert rule(partial(chain.verify_receipt, receipt, key)) == "receipt.signature"
