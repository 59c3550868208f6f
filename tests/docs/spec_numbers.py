"""What the numbers in the text of the specification are: values of the code, or free for a reason.

A number of a page is *bound* to every value of the code that it stands for there. If one of them changes, the page has
to. *Free* are numbers of other standards, and those that follow from the text around them.
"""

from __future__ import annotations

from inspect import signature

from ratatoskr import CUSTOM_TYPES_FROM, XX_CHACHAPOLY, XXHFS_AESGCM, Fault, Limits, admission, limits
from ratatoskr.channel import RecordType, handshake, noise, records, suites
from ratatoskr.connection import machine
from ratatoskr.identity import certificates, claims, verify
from ratatoskr.messages import envelopes, kinds, nonces, receipt, seals, validator, wire
from ratatoskr.service import OncePolicy
from ratatoskr.session import incoming, metadata, outgoing, sending
from ratatoskr_sandbox import SANDBOX_ACTIVITY, SANDBOX_STATEMENT, platform
from ratatoskr_websockets import dialing, names, serve, transport

OWN = Limits()
MILLISECONDS = 1000
DAY = 24 * 3600
KEM = suites.ML_KEM_768

BOUND: dict[str, dict[str, tuple[float, ...]]] = {
    "admission": {
        "256": (admission._MESSAGE_FIELDS,),
        "3,600,000": (int(limits.MAX_ACCEPT_TIMEOUT * MILLISECONDS),),
        "1,024": (limits.MIN_REQUEST_BYTES,),
        "4,096": (admission.MAX_TOKEN_BYTES,),
        "604,800,000": (int(limits.MAX_SESSION_TIMEOUT * MILLISECONDS),),
        "512": (admission._ANSWER_MULTIPLE,),
        "16": (nonces.NONCE_BYTES,),
    },
    "at-most-once": {
        "300": (int(OncePolicy().tolerance),),
        "7": (int(OncePolicy().retention / DAY),),
    },
    "certificates": {
        "64": (len(verify._SPACES), verify.SIGNATURE_BYTES, verify.SIGNATURE_BYTES),
        "32": (verify.KEY_BYTES, certificates.KID_BYTES),
        "14": (len(verify.SMALL_ORDER_SIGNING_KEYS),),
        "4,096": (claims.MAX_CERTIFICATE_BYTES,),
        "128": (claims.MAX_SUBJECT_BYTES,),
        "16": (claims.MAX_NAMES, certificates.SERIAL_BYTES),
        "253,402,300,799,999": (certificates.MAX_MILLISECONDS,),
    },
    "chain": {
        "32": (receipt.HASH_BYTES,),
        "64": (len(verify._SPACES),),
        "17": (len(seals.SEAL_LABEL),),
        "228": (len(seals.SealContext(bytes(32), bytes(32), bytes(32), 0).signed_bytes(1, bytes(32), 1)),),
        "60": (int(OWN.span_timeout),),
        "0.25": (OWN.seal_delay,),
    },
    "connection": {
        "15": (int(OWN.heartbeat_interval),),
        "45": (int(OWN.liveness_timeout),),
        "1000": (Fault.CLEAN.code,),
    },
    "envelopes": {
        "16": (nonces.NONCE_BYTES,),
        "1000": (CUSTOM_TYPES_FROM,),
        "11": (int(kinds.MessageType.PAYMENT_REQUEST),),
        "8": (envelopes.MAX_VIOLATIONS,),
        "86,400,000": (int(envelopes.MAX_RETRY_DELAY * MILLISECONDS),),
        "1,024": (metadata._VALUE_BYTES,),
    },
    "flights": {
        "16": (suites.TAG_BYTES, incoming.DEFAULT_CREDIT, nonces.NONCE_BYTES),
        "30,000": (sending.DEFAULT_TIMEOUT_MS,),
        "86,400,000": (validator.MAX_TIMEOUT_MS,),
        "4,096": (wire.UNCHECKED_BYTES,),
        "8": (envelopes.MAX_VIOLATIONS,),
        "256": (validator._RESPONSE_FIELDS,),
        "32": (validator.METADATA_ENTRY_BYTES, receipt.HASH_BYTES),
        "64": (seals.SIGNATURE_BYTES,),
        "16,384": (validator.PAYLOAD_FIELDS,),
    },
    "handshake": {
        "0001": (XXHFS_AESGCM.id,),
        "0012": (int(f"{XX_CHACHAPOLY.id:x}"),),
        "32": (noise.KEY_BYTES, len(XX_CHACHAPOLY.name)),
        "03": (int(RecordType.M3),),
        "64": (handshake.SIGNATURE_BYTES,),
        "8": (handshake._H1.size,),
        "1088": (KEM.ciphertext_bytes,),
    },
    "index": {
        "64": (len(verify._SPACES), verify.SIGNATURE_BYTES),
        "16": (suites.TAG_BYTES,),
        "20": (int(OWN.ack_delay * MILLISECONDS),),
        "120,000": (signature(serve).parameters["session_timeout"].default * MILLISECONDS,),
        "1,000": (platform.OPENING.minor / 100,),
        "1000": (SANDBOX_STATEMENT.type, SANDBOX_ACTIVITY.type),
    },
    "limits": {
        "20": (OWN.control_burst,),
        "10": (int(OWN.control_rate),),
        "100": (OWN.errors_per_minute, OWN.cancels_per_minute),
        "60": (int(OWN.span_timeout),),
        "0.25": (OWN.seal_delay,),
        "30": (int(OWN.record_timeout),),
        "45": (int(OWN.liveness_timeout),),
        "16": (wire.MAX_DEPTH,),
        "4,096": (wire.UNCHECKED_BYTES,),
    },
    "receipts": {
        "1,056,734": (receipt.MAX_RECEIPT_BYTES,),
        "1,047,552": (receipt.MAX_ENVELOPE_BYTES,),
        "255": (receipt.MAX_FOLLOWING,),
        "64": (seals.SIGNATURE_BYTES,),
        "32": (receipt.HASH_BYTES,),
    },
    "records": {
        "255": (handshake.MAX_SERVER_NAME_BYTES,),
        "16,384": (machine.ANSWER_BYTES,),
        "6": (machine.ALERT_BYTES, records._ALERT.size),
        "04": (int(RecordType.RESPONSE),),
        "10": (int(f"{RecordType.DATA:x}"),),
        "11": (int(f"{RecordType.DATA_REKEY:x}"),),
        "16": (suites.TAG_BYTES,),
        "1,048,576": (limits.MAX_RECORD_BYTES,),
    },
    "resume": {
        "32": (admission._HASH_BYTES,),
    },
    "session": {
        "20": (int(OWN.ack_delay * MILLISECONDS),),
        "11": (int(kinds.MessageType.PAYMENT_REQUEST),),
        "64": (outgoing._RESERVED_BYTES // 1024,),
        "16": (sending.LEAST_SHARE, sending.LEAST_SHARE, incoming.DEFAULT_CREDIT),
        "65,536": (sending.ITEM_BYTES,),
    },
    "transports": {
        "65,536": (names.MESSAGE_BYTES,),
        "1003": (transport.UNSUPPORTED_DATA,),
        "1000": (Fault.CLEAN.code,),
        "300": (int(dialing._LONGEST_ADVICE),),
        "20": (OWN.control_burst,),
        "10": (int(OWN.control_rate),),
    },
    "versioning": {
        "1000": (CUSTOM_TYPES_FROM,),
    },
}

_ALL_ELSE = "compared with bytes in tests of its own"
_OF_HTTP = "a status of HTTP, or a code of WebSocket"
FREE: dict[str, dict[str, str]] = {
    "admission": {"128": "least padding: test_admission"},
    "certificates": {
        "19": "the prime of the curve",
        "3": "a step of the list above",
        "6": "a step of the same list",
        "9999": "the year",
    },
    "chain": {"8": "a u64", "41": "the sum"},
    "connection": {"8": "bytes of a token, a fixed64"},
    "envelopes": {
        "1,64": "an expression: tests of metadata",
        "6": "a wire type",
        "7": "a wire type",
        "31": "an enumeration is an int32",
        "100": "the vectors have groups as deep, and deeper",
        "64": _ALL_ELSE,
        "512": _ALL_ELSE,
        "128": _ALL_ELSE,
    },
    "flights": {"7": _ALL_ELSE, "4": _ALL_ELSE, "3": _ALL_ELSE},
    "handshake": {
        "34": "the revision of Noise",
        "19": "the prime",
        "7.2": "a section of FIPS 203",
        "3329": "its modulus",
    },
    "index": {"32": "bytes of SHA-256", "1970": "the epoch", "8765": "any port"},
    "limits": {"5": "a wire type"},
    "payloads": {"65,536": "tests of payloads compute the longest"},
    "vectors": {"3": "the last message", "64": "bytes of a seed of FIPS 203"},
    "records": {"65,535": "the limit of Noise", "34": "its revision"},
    "transports": dict.fromkeys(("400", "403", "405", "426", "429", "502", "503", "504", "101", "1009"), _OF_HTTP),
}
