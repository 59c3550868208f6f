"""Keys, certificates, chains and admission, by a stranger."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.unit.vectors.files import identity, load, rule, what
from tests.vectors.stranger import admission, certificates

KEYS, CERTIFICATES, ADMISSION = load("keys.json"), load("certificates.json"), load("admission.json")


@pytest.mark.parametrize("case", KEYS["signing_keys"], ids=what)
def test_a_signing_key(case: dict[str, Any]) -> None:
    assert rule(partial(certificates.check_signing_key, bytes.fromhex(case["key"]))) == case["rule"]


@pytest.mark.parametrize("case", KEYS["exchange_keys"], ids=what)
def test_an_exchange_key(case: dict[str, Any]) -> None:
    assert rule(partial(certificates.check_exchange_key, bytes.fromhex(case["key"]))) == case["rule"]


def test_all_keys_of_small_order_are_there() -> None:
    assert sum(case["rule"] == "key.small_order" for case in KEYS["signing_keys"]) == 14
    assert sum(case["rule"] == "key.small_order" for case in KEYS["exchange_keys"]) == 5


@pytest.mark.parametrize("case", KEYS["signatures"]["signatures"], ids=what)
def test_a_signature(case: dict[str, Any]) -> None:
    signature, message = bytes.fromhex(case["signature"]), bytes.fromhex(case["message"])
    assert certificates.verifies(bytes.fromhex(KEYS["signatures"]["key"]), signature, message) is case["valid"]


def test_kids() -> None:
    for case in KEYS["kids"]:
        assert certificates.kid(bytes.fromhex(case["key"])).hex() == case["kid"]


@pytest.mark.parametrize("case", CERTIFICATES["certificates"], ids=what)
def test_a_certificate_is_read(case: dict[str, Any]) -> None:
    assert rule(partial(certificates.read_certificate, bytes.fromhex(case["bytes"]))) == case["rule"]


@pytest.mark.parametrize("case", CERTIFICATES["requests"], ids=what)
def test_a_request_is_read(case: dict[str, Any]) -> None:
    assert rule(partial(certificates.read_request, bytes.fromhex(case["bytes"]))) == case["rule"]


@pytest.mark.parametrize("case", CERTIFICATES["chains"], ids=what)
def test_a_chain_is_judged(case: dict[str, Any]) -> None:
    policy = certificates.Policy(
        [bytes.fromhex(each) for each in case["roots"]],
        [bytes.fromhex(each) for each in case["pinned"]],
        [(bytes.fromhex(issuer), bytes.fromhex(serial)) for issuer, serial in case["revoked"]],
        case["self_issued"],
        case["earliest_ms"],
    )
    chain = [bytes.fromhex(each) for each in case["chain"]]
    judge = partial(policy.judge, chain, set(case["roles"]), case["at_ms"], case["server_name"])
    assert rule(judge) == case["rule"]
    if not case["rule"]:
        peer = judge()
        for name in ("subject", "tenant", "role", "enrolled"):
            assert peer[name] == case[name]


@pytest.mark.parametrize("name", load("identities.json")["identities"])
def test_who_appears_has_the_keys_of_the_certificate(name: str) -> None:
    own = identity(name)
    certificate = certificates.read_certificate(own["chain"][0])
    assert certificate["exchange_key"] == own["exchange_public"]
    assert certificate["signing_key"] == own["signing_public"]
    assert certificate["kid"] == own["kid"]


READERS: dict[str, Callable[[bytes], object]] = {
    "hellos": admission.hello,
    "requests": admission.request,
    "responses": admission.response,
}


@pytest.mark.parametrize(
    ("part", "case"),
    [pytest.param(part, case, id=f"{part}-{case['what']}") for part in READERS for case in ADMISSION[part]],
)
def test_what_the_handshake_carries_is_read(part: str, case: dict[str, Any]) -> None:
    assert rule(partial(READERS[part], bytes.fromhex(case["bytes"]))) == case["rule"]


def test_acceptance_and_rejection_have_one_length() -> None:
    lengths = {case["what"]: len(case["bytes"]) // 2 for case in ADMISSION["responses"]}
    assert lengths["accepted"] % 512 == lengths["a session goes on"] % 512 == 0
    assert lengths["accepted"] == lengths["rejected"]


@pytest.mark.parametrize("case", ADMISSION["limits"], ids=what)
def test_limits_are_agreed_on(case: dict[str, Any]) -> None:
    agree = partial(admission.agree, case["own"], case["announced"])
    assert rule(agree) == case["rule"]
    if not case["rule"]:
        assert agree() == case["agreed"]
