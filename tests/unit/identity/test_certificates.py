"""Certificates and requests: what parses, what is refused under which rule, and what is issued to whom."""

from __future__ import annotations

import math
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.errors import Fault, LocalProtocolError
from ratatoskr.identity import (
    Certificate,
    CertificateRefused,
    CertificateRequest,
    Role,
    issue,
    self_issue,
    signed_input,
)
from tests.unit.identity import curve
from tests.unit.identity.people import BRANCH, DEVICE, NOON, PROVIDER, ROOT, SERVER, WEEK, entropy_of, keys_of

KEYS = keys_of("tester")
HOLDER: dict[str, Any] = {
    "version": 1,
    "role": 2,
    "subject": "tester",
    "names": ["a.example", "localhost"],
    "tenant": "acme",
    "exchange_key": KEYS.public.exchange_key,
    "signing_key": KEYS.public.signing_key,
}
CERTIFIED: dict[str, Any] = HOLDER | {
    "not_before_ms": int(NOON * 1000),
    "not_after_ms": int((NOON + WEEK) * 1000),
    "issuer": ROOT.kid,
    "serial": bytes(range(16)),
}
SMALL = curve.small_order_encodings()
SMALL_U = [u.to_bytes(32, "little") for u in curve.small_order_us()]
P = curve.P.to_bytes(32, "little")

HOLDER_REFUSALS: list[tuple[str, dict[str, Any]]] = [
    ("version", {"version": 0}),
    ("version", {"version": 2}),
    ("role", {"role": 0, "names": []}),
    ("role", {"role": 5, "names": []}),
    ("role", {"role": -1, "names": []}),
    ("subject", {"subject": ""}),
    ("subject", {"subject": " a"}),
    ("subject", {"subject": "a "}),
    ("subject", {"subject": "a\nb"}),
    ("subject", {"subject": "a\x7f"}),
    ("subject", {"subject": "é"}),
    ("subject", {"subject": "x" * 129}),
    ("subject", {"subject": "self-issued:00"}),
    ("tenant", {"tenant": " "}),
    ("tenant", {"tenant": "a\x00"}),
    ("tenant", {"tenant": "x" * 129}),
    ("names", {"role": 3}),
    ("names", {"role": 4}),
    ("names", {"role": 1}),
    ("names", {"names": [""]}),
    ("names", {"names": ["Localhost"]}),
    ("names", {"names": ["*.example"]}),
    ("names", {"names": ["a b"]}),
    ("names", {"names": ["ä.example"]}),
    ("names", {"names": ["x" * 256]}),
    ("names", {"names": ["a", "b", "a"]}),
    ("names", {"names": [f"n{n}" for n in range(17)]}),
    ("key", {"exchange_key": b""}),
    ("key", {"exchange_key": KEYS.public.exchange_key + b"\0"}),
    ("key", {"exchange_key": P}),
    ("key", {"exchange_key": KEYS.public.exchange_key[:31] + b"\xff"}),
    ("key", {"signing_key": b""}),
    ("key", {"signing_key": KEYS.public.signing_key[:31]}),
    ("key", {"signing_key": bytes([2]) + bytes(31)}),
    *(("small_order", {"signing_key": key}) for key in SMALL),
    *(("small_order", {"exchange_key": key}) for key in SMALL_U),
]
CERTIFICATE_REFUSALS: list[tuple[str, dict[str, Any]]] = [
    *HOLDER_REFUSALS,
    ("validity", {"not_before_ms": 5, "not_after_ms": 5}),
    ("validity", {"not_before_ms": 6, "not_after_ms": 5}),
    ("validity", {"not_after_ms": 253_402_300_800_000}),
    ("validity", {"not_after_ms": 2**64 - 1}),
    ("issuer", {"issuer": b""}),
    ("issuer", {"issuer": bytes(33)}),
    ("serial", {"serial": bytes(15)}),
    ("serial", {"serial": bytes(17)}),
    ("path_length", {"path_length": 1}),
    ("path_length", {"role": 1, "names": [], "path_length": 2}),
]
HOLDERS: list[dict[str, Any]] = [
    {},
    {"role": 1, "names": []},
    {"role": 3, "names": []},
    {"role": 4, "names": []},
    {"subject": "x"},
    {"subject": "x" * 128},
    {"subject": "DEV root ~ (1)"},
    {"tenant": ""},
    {"tenant": "x" * 128},
    {"names": []},
    {"names": ["::1", "127.0.0.1", "x" * 255]},
    {"names": [f"n{n}" for n in range(16)]},
]


def encoded_certificate(**changes: Any) -> bytes:
    body = v1.CertificateBody(**(CERTIFIED | changes)).SerializeToString(deterministic=True)
    signature = ROOT.sign(signed_input(b"ratatoskr-v1 certificate", sha256(body).digest()))
    return v1.IdentityCertificate(body=body, signature=signature).SerializeToString(deterministic=True)


def encoded_request(**changes: Any) -> bytes:
    body = v1.CertificateRequestBody(**(HOLDER | changes)).SerializeToString(deterministic=True)
    signature = KEYS.sign(signed_input(b"ratatoskr-v1 enrol", sha256(body).digest()))
    return v1.CertificateRequest(body=body, signature=signature).SerializeToString(deterministic=True)


def refusal(parse: Any, *args: Any, **arguments: Any) -> str:
    with pytest.raises(CertificateRefused) as refused:
        parse(*args, **arguments)
    assert refused.value.fault is Fault.REFUSED
    assert refused.value.detail
    return refused.value.rule


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_roles_are_those_of_the_wire() -> None:
    assert {f"ROLE_{role.name}": role.value for role in Role} | {"ROLE_UNSPECIFIED": 0} == dict(v1.Role.items())


# --- parsing ---------------------------------------------------------------------------------------------------------


def test_a_certificate_says_what_its_bytes_say() -> None:
    encoded = encoded_certificate()
    certificate = Certificate.from_bytes(encoded)
    assert certificate.role is Role.SERVER
    assert (certificate.subject, certificate.tenant) == ("tester", "acme")
    assert certificate.names == ("a.example", "localhost")
    assert (certificate.exchange_key, certificate.verify_key.public) == KEYS.public
    assert (certificate.not_before_ms, certificate.not_after_ms) == (int(NOON * 1000), int((NOON + WEEK) * 1000))
    assert (certificate.issuer, certificate.serial, certificate.path_length) == (ROOT.kid, bytes(range(16)), 0)
    assert certificate.kid == KEYS.kid
    assert certificate.to_bytes() == encoded
    assert certificate.fingerprint == sha256(encoded).digest()
    assert Certificate.from_wire(certificate.to_wire()) == certificate
    assert repr(certificate) == "<Certificate SERVER 'tester' serial=000102030405060708090a0b0c0d0e0f>"


@pytest.mark.parametrize("changes", HOLDERS, ids=str)
def test_what_is_within_the_rules_parses(changes: dict[str, Any]) -> None:
    Certificate.from_bytes(encoded_certificate(**changes))
    CertificateRequest.from_bytes(encoded_request(**changes))


@pytest.mark.parametrize(("rule", "changes"), CERTIFICATE_REFUSALS, ids=lambda value: str(value)[:60])
def test_a_certificate_outside_a_rule_is_refused_under_its_name(rule: str, changes: dict[str, Any]) -> None:
    assert refusal(Certificate.from_bytes, encoded_certificate(**changes)) == f"certificate.{rule}"


@pytest.mark.parametrize(("rule", "changes"), HOLDER_REFUSALS, ids=lambda value: str(value)[:60])
def test_a_request_outside_a_rule_is_refused_under_its_name(rule: str, changes: dict[str, Any]) -> None:
    assert refusal(CertificateRequest.from_bytes, encoded_request(**changes)) == f"request.{rule}"


@pytest.mark.parametrize(
    ("parse", "encode", "outer", "what"),
    [
        (Certificate.from_bytes, encoded_certificate, v1.IdentityCertificate, "certificate"),
        (CertificateRequest.from_bytes, encoded_request, v1.CertificateRequest, "request"),
    ],
)
def test_only_one_encoding_parses(parse: Any, encode: Any, outer: Any, what: str) -> None:
    encoded = encode()
    message = outer.FromString(encoded)
    unknown = b"\x78\x01"  # field 15, varint 1
    swapped = outer(signature=message.signature).SerializeToString() + outer(body=message.body).SerializeToString()
    assert refusal(parse, encoded + unknown) == f"{what}.canonical"
    assert refusal(parse, encoded + encoded) == f"{what}.canonical"
    assert refusal(parse, swapped) == f"{what}.canonical"
    for body in (message.body + unknown, message.body + b"\x08\x01"):
        changed = outer(body=body, signature=message.signature).SerializeToString()
        assert refusal(parse, changed) == f"{what}.canonical"
    for signature in (b"", message.signature[:63], message.signature + b"\0"):
        changed = outer(body=message.body, signature=signature).SerializeToString()
        assert refusal(parse, changed) == f"{what}.signature"
    assert refusal(parse, b"") == f"{what}.version"
    assert refusal(parse, encoded[:-1]) == f"{what}.malformed"
    assert refusal(parse, outer(body=b"\xff", signature=message.signature).SerializeToString()) == f"{what}.malformed"


def test_an_unknown_field_in_a_message_of_the_wire_is_refused() -> None:
    message = v1.IdentityCertificate.FromString(encoded_certificate() + b"\x78\x01")
    assert refusal(Certificate.from_wire, message) == "certificate.canonical"


def test_the_length_is_checked_before_anything_is_parsed() -> None:
    for parse, what in ((Certificate.from_bytes, "certificate"), (CertificateRequest.from_bytes, "request")):
        assert refusal(parse, b"\xff" * 4096) == f"{what}.malformed"
        assert refusal(parse, b"\xff" * 4097) == f"{what}.too_long"


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_parse(data: bytes) -> None:
    for parse in (Certificate.from_bytes, CertificateRequest.from_bytes):
        assert refusal(parse, data)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "version": st.integers(0, 3),
            "role": st.integers(-1, 6),
            "subject": st.text(max_size=130),
            "names": st.lists(st.text(max_size=8), max_size=3),
            "tenant": st.text(max_size=130),
            "exchange_key": st.binary(max_size=33) | st.binary(min_size=32, max_size=32),
            "signing_key": st.binary(max_size=33) | st.binary(min_size=32, max_size=32),
            "not_before_ms": st.integers(0, 2**64 - 1),
            "not_after_ms": st.integers(0, 2**64 - 1),
            "issuer": st.binary(max_size=33),
            "serial": st.binary(max_size=17),
            "path_length": st.integers(0, 3),
        },
    )
)
def test_any_body_gives_a_certificate_or_is_refused(changes: dict[str, Any]) -> None:
    encoded = encoded_certificate(**changes)
    try:
        certificate = Certificate.from_bytes(encoded)
    except CertificateRefused:
        return
    assert certificate.to_bytes() == encoded


# --- signatures ------------------------------------------------------------------------------------------------------


def test_an_issuer_s_signature_verifies_and_no_other() -> None:
    certificate = Certificate.from_bytes(encoded_certificate())
    assert certificate.is_signed_by(ROOT.certificate.verify_key)
    assert not certificate.is_signed_by(BRANCH.certificate.verify_key)
    assert not certificate.is_signed_by(certificate.verify_key)
    assert not Certificate.from_bytes(encoded_certificate(issuer=BRANCH.kid)).is_signed_by(ROOT.certificate.verify_key)
    assert not certificate.is_self_issued
    assert ROOT.certificate.is_self_issued


def test_a_signature_of_another_purpose_does_not_verify() -> None:
    body = v1.IdentityCertificate.FromString(encoded_certificate()).body
    for label in (b"ratatoskr-v1 enrol", b"ratatoskr-v1 seal", b""):
        signature = ROOT.sign(signed_input(label, sha256(body).digest()))
        certificate = Certificate.from_wire(v1.IdentityCertificate(body=body, signature=signature))
        assert not certificate.is_signed_by(ROOT.certificate.verify_key)


def test_every_bit_of_a_certificate_counts() -> None:
    encoded = encoded_certificate()
    for bit in range(len(encoded) * 8):
        try:
            certificate = Certificate.from_bytes(flipped(encoded, bit))
        except CertificateRefused:
            continue
        assert not certificate.is_signed_by(ROOT.certificate.verify_key)


def test_every_bit_of_a_request_counts() -> None:
    encoded = encoded_request()
    for bit in range(len(encoded) * 8):
        refusal(CertificateRequest.from_bytes, flipped(encoded, bit))


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_request_says_who_asks_for_what() -> None:
    request = CertificateRequest.create(
        KEYS, role=Role.SERVER, subject="tester", names=iter(["a.example", "localhost"]), tenant="acme"
    )
    assert request.to_bytes() == encoded_request()
    assert (request.role, request.subject, request.tenant) == (Role.SERVER, "tester", "acme")
    assert request.names == ("a.example", "localhost")
    assert (request.exchange_key, request.verify_key.public) == KEYS.public
    assert request.kid == KEYS.kid


def test_a_request_for_somebody_else_s_key_is_refused() -> None:
    victim = keys_of("victim").public.signing_key
    assert refusal(CertificateRequest.from_bytes, encoded_request(signing_key=victim)) == "request.signature"


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"subject": ""}, "a subject is"),
        ({"subject": "\ud800"}, "a subject is"),
        ({"tenant": "é"}, "a tenant is"),
        ({"names": ["localhost"]}, "only a server has names; `tester` has the role DEVICE"),
        ({"role": Role.SERVER, "names": ["A"]}, "lowercase ASCII"),
    ],
)
def test_misuse_says_what_no_certificate_may_say(claims: dict[str, Any], says: str) -> None:
    arguments: dict[str, Any] = {"role": Role.DEVICE, "subject": "tester"} | claims
    with pytest.raises(LocalProtocolError, match=says):
        CertificateRequest.create(KEYS, **arguments)
    with pytest.raises(LocalProtocolError, match=says):
        self_issue(KEYS, not_before=NOON, not_after=NOON + 1, entropy=entropy_of("x"), **arguments)


# --- issuing ---------------------------------------------------------------------------------------------------------


def issued(issuer: Any = ROOT, request: CertificateRequest | None = None, **arguments: Any) -> Certificate:
    request = request or CertificateRequest.from_bytes(encoded_request())
    defaults: dict[str, Any] = {"not_before": NOON, "not_after": NOON + WEEK}
    defaults["entropy"] = lambda count: bytes(range(count))
    return issue(issuer, request, **(defaults | arguments))


def test_a_certificate_is_issued_as_it_was_asked_for() -> None:
    assert issued().to_bytes() == encoded_certificate()


def test_an_issuer_may_certify_something_else_than_was_asked_for() -> None:
    certificate = issued(role=Role.PROVIDER, subject="shop-7", names=(), tenant="")
    assert (certificate.role, certificate.subject) == (Role.PROVIDER, "shop-7")
    assert (certificate.names, certificate.tenant) == ((), "")


def test_a_request_without_a_valid_proof_is_not_certified() -> None:
    """Also where somebody put the value together himself."""
    stolen = replace(
        CertificateRequest.from_bytes(encoded_request()),
        encoded=encoded_request(signing_key=SERVER.certificate.verify_key.public),
    )
    assert refusal(issued, request=stolen) == "request.signature"


def test_what_is_certified_is_what_was_proven() -> None:
    other = CertificateRequest.create(keys_of("other"), role=Role.DEVICE, subject="other")
    mixed = replace(other, verify_key=SERVER.certificate.verify_key, subject="yggdrasil")
    certificate = issued(request=mixed)
    assert (certificate.kid, certificate.subject) == (other.kid, "other")


@pytest.mark.parametrize("issuer", [SERVER, DEVICE, PROVIDER], ids=lambda each: each.certificate.role.name)
def test_only_an_issuer_issues(issuer: Any) -> None:
    with pytest.raises(LocalProtocolError, match="cannot issue certificates"):
        issued(issuer)


def test_to_become_an_issuer_must_be_granted_in_so_many_words() -> None:
    request = CertificateRequest.create(KEYS, role=Role.ISSUER, subject="tester")
    with pytest.raises(LocalProtocolError, match=r"pass role=Role\.ISSUER"):
        issued(request=request)
    assert issued(request=request, role=Role.ISSUER).path_length == 0
    assert issued(request=request, role=Role.DEVICE).role is Role.DEVICE


def test_an_issuer_under_a_root_certifies_ends_only() -> None:
    assert issued(BRANCH).issuer == BRANCH.kid
    with pytest.raises(LocalProtocolError, match="cannot certify further issuers"):
        issued(BRANCH, role=Role.ISSUER, names=())


@pytest.mark.parametrize(
    ("not_before", "not_after"),
    [
        (NOON, NOON),
        (NOON + 1, NOON),
        (NOON, NOON + 0.0001),
        (-1, NOON),
        (NOON, math.inf),
        (math.nan, NOON),
        (NOON, 1e12),
    ],
)
def test_a_time_that_no_certificate_can_have_is_misuse(not_before: float, not_after: float) -> None:
    with pytest.raises(LocalProtocolError, match="not_before must lie before not_after"):
        issued(not_before=not_before, not_after=not_after)


def test_a_root_is_its_own_issuer() -> None:
    root = self_issue(KEYS, role=Role.ISSUER, subject="root", not_before=0, not_after=1, entropy=entropy_of("x"))
    assert (root.role, root.path_length, root.issuer) == (Role.ISSUER, 1, KEYS.kid)
    assert root.is_signed_by(root.verify_key)


def test_an_end_may_certify_itself() -> None:
    certificate = self_issue(
        KEYS,
        role=Role.SERVER,
        subject="tester",
        names=iter(["localhost"]),
        tenant="acme",
        not_before=1.5,
        not_after=2,
        entropy=entropy_of("x"),
    )
    assert (certificate.names, certificate.tenant, certificate.path_length) == (("localhost",), "acme", 0)
    assert (certificate.not_before_ms, certificate.not_after_ms) == (1500, 2000)
    assert certificate.is_self_issued


def test_serials_come_from_the_entropy() -> None:
    entropy = entropy_of("serials")
    serials = {issued(entropy=entropy).serial for _ in range(5)}
    assert len(serials) == 5


def test_certificates_compare_by_their_bytes() -> None:
    one, same = (Certificate.from_bytes(encoded_certificate()) for _ in range(2))
    other = Certificate.from_bytes(encoded_certificate(subject="other"))
    assert one == same != other
    assert one != encoded_certificate()
    assert len({one, same, other}) == 2
