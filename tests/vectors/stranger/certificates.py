"""docs/spec/certificates.md: keys, signatures, certificates, and whether a chain is believed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .noise import PRIME, Refused, require
from .protobuf import Malformed, NotCanonical, decode, encode

ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, PRIME) % PRIME
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_SIGNING = {
    (y | sign).to_bytes(32, "little")
    for y in (0, 1, PRIME - 1, Y8, PRIME - Y8, PRIME, PRIME + 1)
    for sign in (0, 1 << 255)
}
SMALL_EXCHANGE = {
    u.to_bytes(32, "little")
    for u in (
        0,
        1,
        PRIME - 1,
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    )
}
ISSUER, SERVER, DEVICE, PROVIDER = 1, 2, 3, 4
LAST_MOMENT = 253_402_300_799_999


def kid(key: bytes) -> bytes:
    return sha256(b"ratatoskr-v1 key\0\1" + key).digest()


def check_signing_key(key: bytes) -> None:
    require(len(key) == 32, "key.length")
    require(key not in SMALL_SIGNING, "key.small_order")
    y = int.from_bytes(key, "little") & (1 << 255) - 1
    require(y < PRIME, "key.canonical")
    square = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
    require(pow(square, (PRIME - 1) // 2, PRIME) == 1, "key.curve")


def check_exchange_key(key: bytes) -> None:
    require(len(key) == 32, "key.length")
    require(int.from_bytes(key, "little") < PRIME, "key.canonical")
    require(key not in SMALL_EXCHANGE, "key.small_order")


def verifies(key: bytes, signature: bytes, message: bytes) -> bool:
    """Under a key that was checked."""
    if len(signature) != 64 or signature[:32] in SMALL_SIGNING or int.from_bytes(signature[32:], "little") >= ORDER:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def to_be_signed(label: bytes, body: bytes) -> bytes:
    return b" " * 64 + label + b"\0" + sha256(body).digest()


def _message(name: str, data: bytes, what: str) -> dict[str, Any]:
    require(len(data) <= 4096, f"{what}.too_long")
    try:
        message = decode(name, data)
    except Malformed:
        raise Refused(f"{what}.malformed") from None
    except NotCanonical:
        raise Refused(f"{what}.canonical") from None
    require(encode(name, message) == data, f"{what}.canonical")
    return message


def _is_text(text: str) -> bool:
    return re.fullmatch(r"[!-~]([ -~]{0,126}[!-~])?", text) is not None


def _holder(body: dict[str, Any], signature: bytes, what: str) -> None:
    require(body.get("version", 0) == 1, f"{what}.version")
    role, names = body.get("role", 0), body.get("names", [])
    require(role in {ISSUER, SERVER, DEVICE, PROVIDER}, f"{what}.role")
    subject = body.get("subject", "")
    require(_is_text(subject) and not subject.startswith("self-issued:"), f"{what}.subject")
    require(not body.get("tenant") or _is_text(body["tenant"]), f"{what}.tenant")
    require(not names or role == SERVER, f"{what}.names")
    good = all(re.fullmatch(r"[a-z0-9._:-]{1,255}", name) for name in names)
    require(len(names) <= 16 and len(set(names)) == len(names) and good, f"{what}.names")
    require(len(signature) == 64, f"{what}.signature")
    try:
        check_exchange_key(body.get("exchange_key", b""))
        check_signing_key(body.get("signing_key", b""))
    except Refused as refused:
        raise Refused(f"{what}.small_order" if refused.rule == "key.small_order" else f"{what}.key") from None


def read_certificate(data: bytes) -> dict[str, Any]:
    """The body, with the exact bytes beside. Raises Refused."""
    outer = _message("IdentityCertificate", data, "certificate")
    exact, signature = outer.get("body", b""), outer.get("signature", b"")
    body = _message("CertificateBody", exact, "certificate")
    _holder(body, signature, "certificate")
    begins, ends = body.get("not_before_ms", 0), body.get("not_after_ms", 0)
    require(begins < ends <= LAST_MOMENT, "certificate.validity")
    require(len(body.get("issuer", b"")) == 32, "certificate.issuer")
    require(len(body.get("serial", b"")) == 16, "certificate.serial")
    require(body.get("path_length", 0) <= (body["role"] == ISSUER), "certificate.path_length")
    defaults = {"names": [], "tenant": "", "not_before_ms": 0, "path_length": 0}
    return defaults | body | {"exact": exact, "signature": signature, "encoded": data, "kid": kid(body["signing_key"])}


def read_request(data: bytes) -> dict[str, Any]:
    outer = _message("CertificateRequest", data, "request")
    exact, signature = outer.get("body", b""), outer.get("signature", b"")
    body = _message("CertificateRequestBody", exact, "request")
    _holder(body, signature, "request")
    signed = to_be_signed(b"ratatoskr-v1 enrol", exact)
    require(verifies(body["signing_key"], signature, signed), "request.signature")
    return body


@dataclass
class Policy:
    """Whom an end believes."""

    roots: list[bytes] = field(default_factory=list)
    pinned: list[bytes] = field(default_factory=list)
    revoked: list[tuple[bytes, bytes]] = field(default_factory=list)
    self_issued: bool = False
    earliest_ms: int = 0

    def judge(self, chain: list[bytes], roles: set[int], at_ms: int, server_name: str | None) -> dict[str, Any]:
        """Section "Judging a chain". Raises Refused."""
        at_ms = max(at_ms, self.earliest_ms)
        require(1 <= len(chain) <= 2, "certificate.chain")
        certificates = [read_certificate(each) for each in chain]
        peer = certificates[0]
        require(peer["role"] in roles and peer["role"] != ISSUER, "certificate.role")
        path, enrolled = [peer], True
        if sha256(peer["encoded"]).digest() not in self.pinned:
            if peer["issuer"] == peer["kid"]:
                require(self.self_issued and peer["role"] == PROVIDER, "certificate.issuer")
                require(len(chain) == 1, "certificate.chain")
                require(_signed_by(peer, peer), "certificate.signature")
                enrolled = False
            else:
                path = self._path(certificates, at_ms)
        for each in path:
            require((each["issuer"], each["serial"]) not in self.revoked, "certificate.revoked")
            require(each["not_before_ms"] <= at_ms, "certificate.not_yet_valid")
            require(at_ms < each["not_after_ms"], "certificate.expired")
        require(server_name is None or server_name in peer["names"], "certificate.name")
        subject = peer["subject"] if enrolled else "self-issued:" + peer["kid"].hex()
        return {
            "subject": subject,
            "tenant": peer["tenant"] if enrolled else "",
            "role": peer["role"],
            "enrolled": enrolled,
            "kid": peer["kid"],
            "exchange_key": peer["exchange_key"],
            "signing_key": peer["signing_key"],
        }

    def _path(self, certificates: list[dict[str, Any]], at_ms: int) -> list[dict[str, Any]]:
        roots = [read_certificate(each) for each in self.roots]
        candidates = [root for root in roots if root["kid"] == certificates[-1]["issuer"]]
        require(candidates, "certificate.issuer")
        root = max(
            candidates,
            key=lambda each: (
                each["not_before_ms"] <= at_ms < each["not_after_ms"],
                each["path_length"],
                each["not_after_ms"],
            ),
        )
        path = [*certificates, root]
        for lower, above in pairwise(path):
            require(above["role"] == ISSUER, "certificate.role")
            require(lower["role"] != ISSUER or lower["issuer"] != lower["kid"], "certificate.chain")
            require(lower["issuer"] == above["kid"], "certificate.issuer")
            require(_signed_by(lower, above), "certificate.signature")
        require(len(certificates) - 1 <= root["path_length"], "certificate.path_length")
        return path


def _signed_by(lower: dict[str, Any], above: dict[str, Any]) -> bool:
    signed = to_be_signed(b"ratatoskr-v1 certificate", lower["exact"])
    return lower["issuer"] == above["kid"] and verifies(above["signing_key"], lower["signature"], signed)
