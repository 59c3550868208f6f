"""Identities and their text form."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr.errors import LocalProtocolError
from ratatoskr.identity import (
    CERTIFICATE,
    SECRET_KEYS,
    Block,
    CertificateRefused,
    Identity,
    Role,
    SecretKeys,
    VerifyKey,
    armour,
    dearmour,
)
from tests.unit.identity.people import BRANCH, DEVICE, NOON, PROVIDER, ROOT, SERVER, WEEK, entropy_of

DATA = bytes(range(100))
TEXT = armour([Block("A", DATA), Block("B C", b"")], "one\ntwo")


def refusal(text: bytes) -> str:
    with pytest.raises(CertificateRefused) as refused:
        Identity.from_bytes(text)
    return f"{refused.value.rule}: {refused.value.detail}"


# --- armour ----------------------------------------------------------------------------------------------------------


def test_armour_is_text_that_reads_back() -> None:
    assert dearmour(TEXT) == [Block("A", DATA), Block("B C", b"")]
    lines = TEXT.splitlines()
    assert lines[:3] == [b"# one", b"# two", b"-----BEGIN RATATOSKR A-----"]
    assert max(map(len, lines)) == 64
    assert armour([]) == b""
    assert dearmour(b"") == []


def test_armour_survives_editors() -> None:
    encoded = b64encode(DATA)
    text = b"\r\n # note\r\n  -----BEGIN RATATOSKR A-----  \r\n" + encoded + b"\r\n-----END RATATOSKR A-----"
    assert dearmour(text) == [Block("A", DATA)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"hello", "line 1 is neither a comment nor the begin of a block"),
        (b"# x\n-----END RATATOSKR A-----", "line 2 begins or ends another block"),
        (b"-----BEGIN RATATOSKR A-----\n-----BEGIN RATATOSKR A-----", "line 2 begins or ends another block"),
        (b"-----BEGIN RATATOSKR A-----\n-----END RATATOSKR B-----", "line 2 begins or ends another block"),
        (b"-----BEGIN RATATOSKR A-----\nAAAA", "the last block does not end"),
        (b"-----BEGIN RATATOSKR A-----\n#\n-----END RATATOSKR A-----", "ends in line 3 is not in base64"),
        (b"-----BEGIN RATATOSKR A-----\nAAA\n-----END RATATOSKR A-----", "ends in line 3 is not in base64"),
        (b"-----BEGIN RATATOSKR A-----\nAB==\n-----END RATATOSKR A-----", "ends in line 3 is not in base64"),
        (b"-----BEGIN RATATOSKR a-----", "line 1 is neither"),
        (b"#" * ((1 << 20) + 1), "at most 1048576 are read"),
    ],
)
def test_other_text_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(CertificateRefused) as refused:
        dearmour(text)
    assert refused.value.rule == "armour"
    assert says in refused.value.detail


def test_the_longest_text_is_read() -> None:
    assert dearmour(b"#" * (1 << 20)) == []


@given(
    st.lists(st.tuples(st.sampled_from(["A", "LONG NAME"]), st.binary(max_size=200))), st.text("ab\n#-", max_size=20)
)
def test_any_blocks_read_back(blocks: list[tuple[str, bytes]], comment: str) -> None:
    assert dearmour(armour([Block(*block) for block in blocks], comment)) == blocks


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_text_gives_blocks_or_is_refused(text: bytes) -> None:
    for begin in (b"", b"-----BEGIN RATATOSKR A-----\n"):
        try:
            blocks = dearmour(begin + text)
        except CertificateRefused:
            continue
        assert dearmour(armour(blocks)) == blocks


def test_a_block_does_not_show_what_it_holds() -> None:
    assert repr(Block(SECRET_KEYS, DATA)) == "<Block SECRET KEYS>"


# --- identity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("identity", [ROOT, BRANCH, SERVER, PROVIDER], ids=lambda each: each.certificate.subject)
def test_an_identity_reads_back(identity: Identity) -> None:
    again = Identity.from_bytes(identity.to_bytes())
    assert again == identity
    assert again.keys.to_bytes() == identity.keys.to_bytes()
    assert again.chain == identity.chain


def test_the_text_says_whose_it_is() -> None:
    first = DEVICE.to_bytes().splitlines()[0]
    assert first == b"# Ratatoskr identity: `till-1`, DEVICE, until 2025-01-08T12:00:00Z. Keep it secret."


def test_an_identity_signs_with_the_certified_key() -> None:
    signature = DEVICE.sign(b"words")
    assert VerifyKey(DEVICE.certificate.verify_key.public).verify(signature, b"words")
    assert DEVICE.kid == DEVICE.certificate.kid == DEVICE.keys.kid


def test_secrets_do_not_show() -> None:
    secret = DEVICE.keys.to_bytes()
    shown = f"{DEVICE!r} {DEVICE}"
    assert "till-1" in shown
    for half in (secret[:32], secret[32:]):
        assert half.hex()[:16] not in shown
        assert repr(half)[2:-1] not in shown


def test_the_chain_goes_over_the_wire() -> None:
    assert [message.body for message in PROVIDER.wire_chain()] == [each.body for each in PROVIDER.chain]


def test_a_root_shows_itself_to_nobody() -> None:
    assert DEVICE.chain == ROOT.chain_for(DEVICE.certificate) == (DEVICE.certificate,)
    assert PROVIDER.chain == BRANCH.chain_for(PROVIDER.certificate) == (PROVIDER.certificate, BRANCH.certificate)


def test_a_self_issued_identity_needs_nobody() -> None:
    identity = Identity.self_issued(
        entropy_of("x"),
        role=Role.SERVER,
        subject="x",
        names=["localhost"],
        tenant="t",
        not_before=NOON,
        not_after=NOON + 1,
    )
    assert identity.certificate.is_self_issued
    assert identity.certificate.is_signed_by(identity.certificate.verify_key)
    assert (identity.certificate.names, identity.certificate.tenant) == (("localhost",), "t")


def test_keys_and_certificate_must_belong_together() -> None:
    with pytest.raises(LocalProtocolError, match="`till-1` is for other keys"):
        Identity(SERVER.keys, DEVICE.chain)
    for mixed in (SERVER.keys.to_bytes()[:32] + DEVICE.keys.to_bytes()[32:], DEVICE.keys.to_bytes()[:32] + bytes(32)):
        with pytest.raises(LocalProtocolError, match="`till-1` is for other keys"):
            Identity(SecretKeys(mixed), DEVICE.chain)


@pytest.mark.parametrize("chain", [(), (*PROVIDER.chain, ROOT.certificate)], ids=len)
def test_an_identity_has_one_or_two_certificates(chain: tuple[object, ...]) -> None:
    with pytest.raises(LocalProtocolError, match="has 1 to 2 certificates"):
        Identity(PROVIDER.keys, chain)  # type: ignore[arg-type]


def test_the_second_certificate_is_the_issuer_s() -> None:
    with pytest.raises(LocalProtocolError, match="`Branch` is not the issuer of `till-1`"):
        Identity(DEVICE.keys, (DEVICE.certificate, BRANCH.certificate))


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        ([], "identity: an identity is a block of secret keys"),
        ([Block(SECRET_KEYS, DEVICE.keys.to_bytes())], "identity: an identity is a block of secret keys"),
        ([Block(CERTIFICATE, DEVICE.certificate.encoded)], "identity: an identity is a block of secret keys"),
        (
            [
                Block(SECRET_KEYS, DEVICE.keys.to_bytes()),
                Block(CERTIFICATE, DEVICE.certificate.encoded),
                Block(SECRET_KEYS, DEVICE.keys.to_bytes()),
            ],
            "identity: only certificates may follow",
        ),
        (
            [Block(SECRET_KEYS, SERVER.keys.to_bytes()), Block(CERTIFICATE, DEVICE.certificate.encoded)],
            "identity: the certificate of `till-1` is for other keys",
        ),
        (
            [Block(SECRET_KEYS, bytes(63)), Block(CERTIFICATE, DEVICE.certificate.encoded)],
            "identity: secret keys have 64 bytes, not 63",
        ),
        ([Block(SECRET_KEYS, bytes(64)), Block(CERTIFICATE, b"\xff")], "certificate.malformed"),
    ],
)
def test_blocks_that_are_no_identity_are_refused(blocks: list[Block], says: str) -> None:
    assert refusal(armour(blocks)).startswith(says)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_identity_or_refused(data: bytes) -> None:
    refusal(data)
    refusal(armour([Block(SECRET_KEYS, data[:64]), Block(CERTIFICATE, data[64:])]))


def test_a_refusal_does_not_show_the_secret() -> None:
    text = DEVICE.to_bytes()
    secret = b64encode(DEVICE.keys.to_bytes())
    line = secret[:64]
    assert line in text
    for broken in (text.replace(line, line[:63] + b"!"), text.replace(b"END RATATOSKR S", b"end"), line + b"\n" + text):
        said = refusal(broken)
        assert secret.decode()[:12] not in said
        assert str(b64decode(secret)[:6]) not in said


def test_times_of_a_self_issued_identity_are_its_own() -> None:
    identity = Identity.self_issued(
        entropy_of("x"), role=Role.PROVIDER, subject="x", not_before=NOON, not_after=NOON + WEEK
    )
    assert identity.certificate.not_after_ms - identity.certificate.not_before_ms == WEEK * 1000
