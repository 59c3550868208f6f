"""The formal models against the code they speak of, and the page's table of results against the models."""

from __future__ import annotations

import re
import shutil
from hashlib import sha256
from hmac import digest

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ratatoskr import XXHFS_AESGCM, v1
from ratatoskr.admission import DEVICE_AUTH, SERVER_AUTH, transcript_bytes
from ratatoskr.channel import ClientHandshake
from ratatoskr.channel.handshake import H1, encode_h1
from ratatoskr.channel.noise import XXHFS, HandshakeState
from ratatoskr.identity import Role, certificates
from ratatoskr.identity.claims import signed_body
from ratatoskr.identity.verify import ED25519, KEY_LABEL, key_id
from ratatoskr.messages.chain import Position, leaf, leaf_prefix, link
from ratatoskr.messages.seals import SEAL_LABEL, SealContext
from ratatoskr.session.resumable import CLIENT_PROOF, SERVER_PROOF, ResumableSession
from ratatoskr.testing import Authority, Pair
from ratatoskr.testing.clock import seeded
from tools import formal
from tools.formal import REAL, Model

MODELS = {model.name: model for model in formal.models()}
PAGE = formal.PAGE.read_text(encoding="utf-8")
NOT_RUN = {"handshake.pv"}
"""Models without results on the page, which says so."""

_LABEL = re.compile(r'^const (\w+): bitstring\.\s+\(\* LABEL "(.*)" \*\)$', re.MULTILINE)
_FUNCTION = re.compile(r"^letfun (\w+)\(([^=]*?)\) =\n  (.*)\.$", re.MULTILINE)
_MESSAGE = re.compile(r"^\(\* MESSAGE (\w+): (.*?)(?:; without (.*?))? \*\)\nletfun (\w+)", re.MULTILINE | re.DOTALL)


def labels(model: Model) -> dict[str, str]:
    """The labels of a model, by the name that they have there."""
    return dict(_LABEL.findall(model.source))


def formula(model: str, function: str) -> str:
    """What a function of a model gives."""
    (found,) = (body for name, _, body in _FUNCTION.findall(MODELS[model].text()) if name == function)
    return str(found)


def fields(text: str) -> list[str]:
    """The parts of a tuple."""
    found = re.fullmatch(r"\((.*)\)", text)
    assert found, text
    return [part.strip() for part in found[1].split(",")]


def evaluate(text: str, values: dict[str, bytes]) -> bytes:
    """The bytes of a formula, which a label begins with a zero byte behind it."""
    if call := re.fullmatch(r"sha256\((.*)\)", text):
        return sha256(evaluate(call[1], values)).digest()
    if text.startswith("("):
        return b"".join(evaluate(part, values) for part in fields(text))
    return values[text] + (b"\0" if text.startswith("label") else b"")


def values(model: str, **more: bytes) -> dict[str, bytes]:
    """What the names in a model stand for."""
    fixed = {"byte_0": b"\0", "byte_2": b"\2"}
    return fixed | {name: label.encode() for name, label in labels(MODELS[model]).items()} | more


def signed(text: str, known: dict[str, bytes]) -> bytes:
    """What is signed, by a formula of a model."""
    return b" " * 64 + evaluate(text, known)


SESSION, SIGNER, RECIPIENT, CHAIN, H = (bytes([each]) * 32 for each in range(5))
SEALS = values(
    "seals.pv",
    sig_suite=bytes([ED25519]),
    session_id=SESSION,
    signer_kid=SIGNER,
    recipient_kid=RECIPIENT,
    direction=b"\1",
    number=(7).to_bytes(8, "big"),
    chain=CHAIN,
    signed_at_ms=(9).to_bytes(8, "big"),
    envelope=b"envelope",
    leaf_n=H,
    public_key=SIGNER,
)


# What is signed and hashed


def test_labels_are_those_of_the_code() -> None:
    known = {
        "label_server_auth": SERVER_AUTH,
        "label_device_auth": DEVICE_AUTH,
        "label_certificate": certificates.CERTIFICATE_LABEL,
        "label_enrol": certificates.REQUEST_LABEL,
        "label_seal": SEAL_LABEL,
        "label_key": KEY_LABEL,
        "label_resume_client": CLIENT_PROOF,
        "label_resume_server": SERVER_PROOF,
    }
    elsewhere = {"label_prologue", "label_session_id", "label_resume", "label_chain"}
    named: set[str] = set()
    for model in MODELS.values():
        declared = set(re.findall(r"^const (label_\w+)", model.source, re.MULTILINE))
        assert declared == set(labels(model)), "each label says its text"
        for name, text in labels(model).items():
            assert name in elsewhere or text.encode() == known[name]
        named |= declared
    assert named == known.keys() | elsewhere


@pytest.mark.parametrize("model", ["handshake.pv", "resume.pv", "ik.pv"])
@pytest.mark.parametrize("label", [SERVER_AUTH, DEVICE_AUTH])
def test_a_transcript_is_signed_so(model: str, label: bytes) -> None:
    known = values(model, label=label, h=H, B=b"B")
    assert signed(formula(model, "transcript"), known) == transcript_bytes(label, H, b"B")


@pytest.mark.parametrize("model", ["handshake.pv", "enrolment.pv"])
def test_certificates_and_requests_are_signed_so(model: str) -> None:
    known = values(model, body=b"body")
    certificate, request = (formula(model, name) for name in ("certificate_input", "request_input"))
    assert signed(certificate, known) == signed_body(certificates.CERTIFICATE_LABEL, b"body")
    assert signed(request, known) == signed_body(certificates.REQUEST_LABEL, b"body")


def test_a_seal_signs_so() -> None:
    context = SealContext(SESSION, SIGNER, RECIPIENT, 1)
    assert signed(formula("seals.pv", "seal_input"), SEALS) == context.signed_bytes(7, CHAIN, 9)


def test_chains_and_keys_are_hashed_so() -> None:
    assert evaluate(formula("seals.pv", "key_id"), SEALS) == key_id(SIGNER)
    assert evaluate(formula("seals.pv", "chain_start"), SEALS) == Position.start(SESSION, 1).chain
    assert evaluate(formula("seals.pv", "leaf"), SEALS) == leaf(leaf_prefix(SESSION, 1), 7, b"envelope")
    assert evaluate(formula("seals.pv", "link"), SEALS) == link(CHAIN, H)


@pytest.mark.parametrize(("is_client", "label"), [(True, "label_resume_client"), (False, "label_resume_server")])
def test_a_proof_covers_this(label: str, *, is_client: bool) -> None:
    found = re.fullmatch(r"hmac\(R, (.*)\)", formula("resume.pv", "resume_proof"))
    assert found
    known = values("resume.pv", h=H)
    expected = digest(b"R", evaluate(found[1], known | {"label": known[label]}), "sha256")

    authority = Authority()
    both = Pair(
        client=authority.client_config(session_timeout=60.0),
        server=authority.server_config("yggdrasil.test", session_timeout=60.0),
    )
    both.open()
    session = (both.client if is_client else both.server).connection.session
    assert isinstance(session, ResumableSession)
    assert session.peer is not None
    session._secret = b"R"
    if is_client:
        claimed = session.claim(session.peer, H)
        assert claimed is not None
        assert claimed.proof == expected
    else:
        assert session.account(H).proof == expected


def test_the_handshake_begins_and_exports_so() -> None:
    """A bare Noise responder, with the model's labels, ends with the client's session id and secret."""
    known = values("handshake.pv", server_name=b"", suite_id=encode_h1(XXHFS_AESGCM.id, "yggdrasil.test"))
    prologue = evaluate(formula("handshake.pv", "prologue").replace(", server_name", ""), known)
    random = seeded(7)
    keys = [X25519PrivateKey.from_private_bytes(random(32)) for _ in range(2)]
    client = ClientHandshake(static=keys[0], suite=XXHFS_AESGCM, server_name="yggdrasil.test", entropy=random)
    server = HandshakeState(XXHFS, XXHFS_AESGCM, initiator=False, prologue=prologue, entropy=random, static=keys[1])
    server.read_tokens(client.m1()[len(known["suite_id"]) :])
    server.read_payload()
    server.write_tokens()
    client.read_m2(server.write_payload(bytes(64)))
    server.read_tokens(client.m3(lambda h: bytes(64)))
    server.read_payload()

    secret = server.derive(b"ratatoskr-v1 exporter\0" + server.h)
    established = client.establish()
    for label, exported in (
        ("label_session_id", established.session_id),
        ("label_resume", established.resume_secret),
    ):
        info = b"ratatoskr-v1 " + known[label] + b"\0" + sha256(b"").digest()
        assert HKDFExpand(SHA256(), 32, info).derive(secret) == exported


# Messages

MESSAGES = [(model.name, *found) for model in MODELS.values() for found in _MESSAGE.findall(model.source)]


def test_every_message_of_the_models_is_compared() -> None:
    assert {(model, function) for model, _, _, _, function in MESSAGES} == {
        ("handshake.pv", "prologue"),
        ("handshake.pv", "certificate_body"),
        ("handshake.pv", "server_hello"),
        ("handshake.pv", "connection_request"),
        ("resume.pv", "resume"),
        ("resume.pv", "resumed"),
        ("enrolment.pv", "request_body"),
        ("enrolment.pv", "certificate_body"),
    }


@pytest.mark.parametrize(("model", "message", "listed", "without", "function"), MESSAGES)
def test_a_message_has_the_fields_of_the_code(
    model: str, message: str, listed: str, without: str, function: str
) -> None:
    said = [part.split() for part in listed.split(",")]
    names = [each[0] for each in said]
    modelled = [name for name in fields(formula(model, function)) if not name.startswith("label")]
    assert [name.replace("proved", "proof") for name in modelled] == names
    stands_for = [name for each in said for name in (each[2:] or each)]
    unsaid = [name.strip() for name in without.split(",") if name]
    real = list(H1._fields) if message == "H1" else list(getattr(v1, message).DESCRIPTOR.fields_by_name)
    assert sorted(stands_for + unsaid) == sorted(real)


def test_roles_are_those_of_the_code() -> None:
    declared = re.findall(r"^const ([A-Z]+): bitstring\.$", MODELS["handshake.pv"].source, re.MULTILINE)
    assert {"SERVER", "DEVICE"} == {role.name for role in Role} & set(declared)


# Queries, variants and their results


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_a_model_is_whole(model: Model) -> None:
    names = [query.name for query in model.queries]
    assert len(names) == len(set(names)) == model.source.count("\nquery "), "every query has a name and a sentence"
    for query in model.queries:
        assert query.says.endswith(".")
        assert REAL in query.expected
        assert query.expected.keys() <= {REAL, *model.variants}
        assert set(query.expected.values()) <= {"holds", "attack", "reachable"}
    assert {said for _, said in model.expected(REAL)} >= {"reachable"}, "the model does something"
    for variant in model.variants:
        assert model.expected(variant)
        assert model.text(variant) != model.text()
    assert model.replaced() == set(model.variants)


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_a_variant_differs_in_its_own_lines_only(model: Model) -> None:
    for variant in model.variants:
        text = model.text(variant)
        assert "(*- " not in text
        assert len(re.findall(r"^query ", text, re.MULTILINE)) == len(model.expected(variant))


@pytest.mark.parametrize("model", [model for model in MODELS.values() if model.name != "ik.pv"], ids=lambda m: m.name)
def test_every_question_that_holds_can_fail(model: Model) -> None:
    """In some variant there is an attack, or the query would hold whatever the protocol did."""
    for query in model.queries:
        if query.expected[REAL] == "holds":
            assert "attack" in query.expected.values(), query.name


def test_the_page_has_the_result_of_every_query() -> None:
    assert all(f"`{name}` is not in the table" in PAGE for name in NOT_RUN)
    expected = [
        (model.name, variant, query, said)
        for model in MODELS.values()
        if model.name not in NOT_RUN
        for variant in (REAL, *model.variants)
        for query, said in model.expected(variant)
    ]
    assert formal.results(PAGE) == expected


def test_the_page_says_what_every_model_and_variant_is() -> None:
    for model in MODELS.values():
        assert f"`{model.name}`" in PAGE


@pytest.mark.timeout(formal.TIMEOUT_SECONDS)
@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_proverif_says_so(model: Model) -> None:
    proverif = shutil.which("proverif")
    if proverif is None:
        pytest.skip("there is no `proverif` on PATH; docs/spec/formal/README.md records a run")
    for variant in (REAL, *model.variants):
        found, _ = formal.run(model, variant, proverif)
        assert [result for result in found if not result.ok] == []
