"""Who somebody is: keys, certificates, trust, and the one verifier."""

from ratatoskr.identity.keys import PublicKeys, SecretKeys
from ratatoskr.identity.verify import ED25519, KeyRefused, VerifyKey, check_exchange_key, key_id, signed_input

__all__ = [
    "ED25519",
    "KeyRefused",
    "PublicKeys",
    "SecretKeys",
    "VerifyKey",
    "check_exchange_key",
    "key_id",
    "signed_input",
]
