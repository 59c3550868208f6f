"""Who somebody is: keys, certificates, trust, and the one verifier.

An :class:`Identity` is who this side is; a :class:`TrustPolicy` judges who the other side is. Certificates come from
:func:`issue` against a :class:`CertificateRequest`, or from :func:`self_issue`.
"""

from ratatoskr.identity.armour import CERTIFICATE, REQUEST, SECRET_KEYS, Block, armour, dearmour
from ratatoskr.identity.certificates import Certificate, CertificateRequest
from ratatoskr.identity.claims import CertificateRefused, Holder, Role
from ratatoskr.identity.identity import Identity
from ratatoskr.identity.issuing import Issuer, issue, self_issue
from ratatoskr.identity.keys import PublicKeys, SecretKeys
from ratatoskr.identity.trust import TrustPolicy, VerifiedPeer, utc
from ratatoskr.identity.verify import ED25519, KeyRefused, VerifyKey, check_exchange_key, key_id, signed_input

__all__ = [
    "CERTIFICATE",
    "ED25519",
    "REQUEST",
    "SECRET_KEYS",
    "Block",
    "Certificate",
    "CertificateRefused",
    "CertificateRequest",
    "Holder",
    "Identity",
    "Issuer",
    "KeyRefused",
    "PublicKeys",
    "Role",
    "SecretKeys",
    "TrustPolicy",
    "VerifiedPeer",
    "VerifyKey",
    "armour",
    "check_exchange_key",
    "dearmour",
    "issue",
    "key_id",
    "self_issue",
    "signed_input",
    "utc",
]
