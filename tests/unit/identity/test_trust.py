"""Trust: who is believed, and under which rule everybody else is refused."""

from __future__ import annotations

from collections.abc import Sequence
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
    Identity,
    Role,
    TrustPolicy,
    VerifiedPeer,
    signed_input,
    utc,
)
from tests.unit.identity.people import (
    BRANCH,
    DEVICE,
    NOON,
    OTHER_ROOT,
    PROVIDER,
    ROOT,
    SERVER,
    STRANGER,
    WEEK,
    certified_by,
    entropy_of,
    keys_of,
    root_of,
)

POLICY = TrustPolicy(roots={ROOT.certificate, OTHER_ROOT.certificate})
CLIENTS = frozenset({Role.DEVICE, Role.PROVIDER})
ALL = frozenset(Role)
SOON = NOON + 60


def judge(policy: TrustPolicy, chain: Sequence[Any], **arguments: Any) -> VerifiedPeer:
    defaults: dict[str, Any] = {"roles": ALL, "at": SOON}
    return policy.judge(chain, **(defaults | arguments))


def refused(policy: TrustPolicy, chain: Sequence[Any], **arguments: Any) -> CertificateRefused:
    with pytest.raises(CertificateRefused) as refusal:
        judge(policy, chain, **arguments)
    assert refusal.value.fault is Fault.REFUSED
    return refusal.value


def changed(certificate: Certificate, signer: Identity, **changes: Any) -> Certificate:
    """The same certificate with another body, signed again."""
    body = v1.CertificateBody.FromString(certificate.body)
    for name, value in changes.items():
        setattr(body, name, value)
    encoded = body.SerializeToString(deterministic=True)
    signature = signer.sign(signed_input(b"ratatoskr-v1 certificate", sha256(encoded).digest()))
    return Certificate.from_wire(v1.IdentityCertificate(body=encoded, signature=signature))


# --- who is believed -------------------------------------------------------------------------------------------------


def test_a_server_under_a_root_is_believed() -> None:
    peer = judge(POLICY, SERVER.chain, roles={Role.SERVER}, server_name="localhost")
    assert (peer.subject, peer.role, peer.enrolled) == ("yggdrasil", Role.SERVER, True)
    assert peer.names == ("yggdrasil.example", "localhost")
    assert peer.certificate == SERVER.certificate
    assert peer.fingerprint == SERVER.certificate.fingerprint
    assert peer.kid == peer.verify_key.kid == SERVER.kid
    assert peer.exchange_key == SERVER.keys.public.exchange_key


def test_a_device_keeps_its_tenant() -> None:
    peer = judge(POLICY, DEVICE.chain, roles=CLIENTS)
    assert (peer.subject, peer.tenant, peer.enrolled) == ("till-1", "acme", True)


def test_one_issuer_may_stand_between() -> None:
    assert len(PROVIDER.chain) == 2
    assert judge(POLICY, PROVIDER.chain).subject == "shop-7"


@pytest.mark.parametrize("form", [Certificate.to_bytes, Certificate.to_wire, lambda certificate: certificate])
def test_a_chain_comes_in_any_form(form: Any) -> None:
    assert judge(POLICY, [form(certificate) for certificate in PROVIDER.chain]).subject == "shop-7"


def test_a_pin_is_enough() -> None:
    policy = TrustPolicy(pinned={PROVIDER.certificate.fingerprint, STRANGER.certificate.fingerprint})
    for identity in (PROVIDER, STRANGER):
        peer = judge(policy, identity.chain)
        assert (peer.subject, peer.enrolled) == ("shop-7", True)


def test_a_self_issued_provider_is_believed_to_be_nobody_in_particular() -> None:
    peer = judge(TrustPolicy(self_issued=True), STRANGER.chain)
    assert peer.enrolled is False
    assert peer.subject == f"self-issued:{STRANGER.kid.hex()}"
    assert peer.tenant == ""
    assert peer.certificate.subject == "shop-7"


@pytest.mark.parametrize("at", [NOON, NOON + WEEK - 0.001])
def test_a_certificate_is_valid_from_its_first_moment_to_its_last(at: float) -> None:
    judge(POLICY, DEVICE.chain, at=at)


def test_a_clock_before_the_build_is_not_believed() -> None:
    judge(replace(POLICY, earliest=NOON), DEVICE.chain, at=0)
    assert refused(replace(POLICY, earliest=NOON + WEEK), DEVICE.chain).rule == "certificate.expired"


def test_a_renewed_root_counts_with_its_new_certificate() -> None:
    old = root_of("DEV root", not_before=NOON - WEEK, not_after=NOON + 1)
    policy = TrustPolicy(roots={ROOT.certificate, old.certificate})
    assert old.kid == ROOT.kid
    judge(policy, DEVICE.chain, at=NOON)
    judge(policy, DEVICE.chain, at=NOON + 2)
    longer = root_of("DEV root", not_before=NOON + 3, not_after=NOON + 2 * WEEK)
    judge(TrustPolicy(roots={ROOT.certificate, longer.certificate}), DEVICE.chain, at=NOON + 2)
    assert refused(TrustPolicy(roots={old.certificate}), DEVICE.chain, at=NOON + 2).rule == "certificate.expired"


# --- who is refused --------------------------------------------------------------------------------------------------

FORGED = changed(DEVICE.certificate, OTHER_ROOT)
FORGED_BRANCH = changed(BRANCH.certificate, OTHER_ROOT)
UNDER_SERVER = changed(DEVICE.certificate, SERVER, issuer=SERVER.kid)
NO_ROOM = changed(ROOT.certificate, ROOT, path_length=0)
FORGED_STRANGER = changed(STRANGER.certificate, ROOT)
OPEN = TrustPolicy(self_issued=True)

REFUSALS: list[tuple[str, TrustPolicy, Sequence[Certificate], dict[str, Any], str]] = [
    ("certificate.chain", POLICY, (), {}, "0 certificates; a chain has 1 to 2"),
    ("certificate.chain", POLICY, (*PROVIDER.chain, ROOT.certificate), {}, "3 certificates"),
    ("certificate.chain", POLICY, (DEVICE.certificate, ROOT.certificate), {}, "the root `DEV root` does not belong"),
    ("certificate.chain", OPEN, (STRANGER.certificate, STRANGER.certificate), {}, "nobody stands over `shop-7`"),
    (
        "certificate.role",
        POLICY,
        DEVICE.chain,
        {"roles": {Role.SERVER}},
        "`till-1` has the role DEVICE, expected was SERVER",
    ),
    ("certificate.role", POLICY, SERVER.chain, {"roles": CLIENTS}, "expected was DEVICE or PROVIDER"),
    ("certificate.role", POLICY, BRANCH.chain, {}, "`Branch` has the role ISSUER"),
    ("certificate.role", POLICY, ROOT.chain, {}, "`DEV root` has the role ISSUER"),
    ("certificate.role", POLICY, (UNDER_SERVER, SERVER.certificate), {}, "`yggdrasil` has the role SERVER and cannot"),
    ("certificate.issuer", TrustPolicy(), DEVICE.chain, {}, "is not under any of 0 roots"),
    (
        "certificate.issuer",
        POLICY,
        PROVIDER.chain[:1],
        {},
        f"`shop-7` (issuer {BRANCH.kid.hex()[:16]}) is not under any of 2",
    ),
    (
        "certificate.issuer",
        TrustPolicy(roots={OTHER_ROOT.certificate}),
        PROVIDER.chain,
        {},
        (
            "`shop-7` (issuer `Branch`) is not under any of 1 roots. To trust it, add the root with key "
            f"{ROOT.kid.hex()} or pin {PROVIDER.certificate.fingerprint.hex()}"
        ),
    ),
    (
        "certificate.issuer",
        POLICY,
        (DEVICE.certificate, BRANCH.certificate),
        {},
        "`Branch` is not the issuer of `till-1`",
    ),
    (
        "certificate.issuer",
        POLICY,
        STRANGER.chain,
        {},
        "issued its own PROVIDER certificate, which this policy does not",
    ),
    (
        "certificate.path_length",
        TrustPolicy(roots={NO_ROOM}),
        PROVIDER.chain,
        {},
        "no issuer may stand under `DEV root`",
    ),
    ("certificate.signature", POLICY, (FORGED,), {}, "the signature of `DEV root` under `till-1` does not verify"),
    ("certificate.signature", POLICY, (PROVIDER.certificate, FORGED_BRANCH), {}, "`DEV root` under `Branch`"),
    ("certificate.signature", OPEN, (FORGED_STRANGER,), {}, "the signature of `shop-7` does not verify"),
    ("certificate.not_yet_valid", POLICY, DEVICE.chain, {"at": NOON - 0.001}, "valid from 2025-01-01T12:00:00Z"),
    ("certificate.not_yet_valid", OPEN, STRANGER.chain, {"at": 0}, "this clock says 1970-01-01T00:00:00Z"),
    (
        "certificate.not_yet_valid",
        POLICY,
        DEVICE.chain,
        {"at": 0, "server_time": NOON + 240},
        (
            "`till-1`: certificate valid from 2025-01-01T12:00:00Z, this clock says 1970-01-01T00:00:00Z; "
            "server says 2025-01-01T12:04:00Z"
        ),
    ),
    (
        "certificate.expired",
        POLICY,
        DEVICE.chain,
        {"at": NOON + WEEK},
        "expired at 2025-01-08T12:00:00Z, this clock says",
    ),
    (
        "certificate.name",
        POLICY,
        DEVICE.chain,
        {"server_name": "localhost"},
        "proved no name; you asked for `localhost`.",
    ),
    (
        "certificate.name",
        POLICY,
        SERVER.chain,
        {"server_name": "other.example"},
        (
            "Server proved `yggdrasil.example`, `localhost`; you asked for `other.example`. "
            "If intended: server_name='yggdrasil.example'"
        ),
    ),
    *(
        (
            "certificate.revoked",
            replace(POLICY, revoked={(certificate.issuer, certificate.serial)}),
            PROVIDER.chain,
            {},
            f"`{certificate.subject}` (serial {certificate.serial.hex()}) is revoked",
        )
        for certificate in (*PROVIDER.chain, ROOT.certificate)
    ),
    (
        "certificate.revoked",
        TrustPolicy(
            pinned={DEVICE.certificate.fingerprint}, revoked={(DEVICE.certificate.issuer, DEVICE.certificate.serial)}
        ),
        DEVICE.chain,
        {},
        "is revoked",
    ),
]


@pytest.mark.parametrize(("rule", "policy", "chain", "arguments", "says"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_a_peer_outside_a_rule_is_refused_under_its_name(
    rule: str, policy: TrustPolicy, chain: Sequence[Certificate], arguments: dict[str, Any], says: str
) -> None:
    refusal = refused(policy, chain, **arguments)
    assert refusal.rule == rule
    assert says in refusal.detail


@pytest.mark.parametrize("role", [Role.SERVER, Role.DEVICE])
def test_only_a_provider_may_issue_itself(role: Role) -> None:
    itself = Identity.self_issued(entropy_of("x"), role=role, subject="x", not_before=NOON, not_after=NOON + WEEK)
    refusal = refused(TrustPolicy(self_issued=True), itself.chain)
    assert refusal.rule == "certificate.issuer"
    assert f"pin {itself.certificate.fingerprint.hex()}" in refusal.detail


def test_a_stranger_cannot_have_himself_enrolled_by_a_chain() -> None:
    for above in (BRANCH.certificate, ROOT.certificate):
        assert refused(replace(POLICY, self_issued=True), (STRANGER.certificate, above)).rule == "certificate.chain"


def test_an_issuer_is_revoked_with_all_that_it_issued_and_nobody_else() -> None:
    policy = replace(POLICY, revoked={(BRANCH.certificate.issuer, BRANCH.certificate.serial)})
    assert refused(policy, PROVIDER.chain).rule == "certificate.revoked"
    judge(policy, DEVICE.chain)


def test_a_serial_is_revoked_under_its_issuer_only() -> None:
    judge(replace(POLICY, revoked={(OTHER_ROOT.kid, DEVICE.certificate.serial)}), DEVICE.chain)


@pytest.mark.parametrize("expired", [0, 1])
def test_every_certificate_of_the_path_must_be_alive(expired: int) -> None:
    branch = certified_by(ROOT, Role.ISSUER, "Branch", not_after=NOON + (10 if expired else WEEK))
    provider = certified_by(branch, Role.PROVIDER, "shop-7", not_after=NOON + (WEEK if expired else 10))
    judge(POLICY, provider.chain, at=NOON + 9)
    refusal = refused(POLICY, provider.chain, at=NOON + 11)
    assert refusal.rule == "certificate.expired"
    assert provider.chain[expired].subject in refusal.detail


@pytest.mark.parametrize("certificate", [SERVER.certificate, BRANCH.certificate, STRANGER.certificate], ids=repr)
def test_a_root_is_an_issuer_that_signed_itself(certificate: Certificate) -> None:
    with pytest.raises(LocalProtocolError, match="is no root"):
        TrustPolicy(roots={certificate})


def test_a_root_with_a_changed_bit_is_no_root() -> None:
    with pytest.raises(LocalProtocolError, match="is no root"):
        TrustPolicy(roots={changed(ROOT.certificate, OTHER_ROOT)})


@pytest.mark.parametrize("position", [0, 1])
def test_every_bit_of_a_chain_counts(position: int) -> None:
    encoded = [certificate.encoded for certificate in PROVIDER.chain]
    for bit in range(len(encoded[position]) * 8):
        data = bytearray(encoded[position])
        data[bit // 8] ^= 1 << bit % 8
        refused(POLICY, [bytes(data) if index == position else each for index, each in enumerate(encoded)])


@given(st.lists(st.binary(max_size=200) | st.sampled_from([each.encoded for each in PROVIDER.chain]), max_size=3))
def test_any_chain_is_believed_or_refused(chain: list[bytes]) -> None:
    try:
        peer = judge(POLICY, chain)
    except CertificateRefused:
        return
    assert peer.certificate == PROVIDER.certificate


def test_holders_of_the_same_name_are_told_apart_by_their_keys() -> None:
    assert PROVIDER.certificate.subject == STRANGER.certificate.subject
    assert PROVIDER.kid != STRANGER.kid != keys_of("another").kid


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(-5, "1970-01-01T00:00:00Z"), (NOON * 1000, "2025-01-01T12:00:00Z"), (1e300, "9999-12-31T23:59:59Z")],
)
def test_times_are_written_for_people(milliseconds: float, text: str) -> None:
    assert utc(milliseconds) == text
