"""Admission: the messages of the handshake, between bytes and values.

The payloads of the second and third handshake message and of the CONNECTION_RESPONSE record are read here, with every
field checked; what they mean for keys and states is the connection's business. The transcript hash comes in as bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from ratatoskr import v1
from ratatoskr.errors import Failure, Fault, LocalProtocolError, ProtocolFault
from ratatoskr.identity.verify import signed_input
from ratatoskr.limits import MAX_ACCEPT_TIMEOUT, MAX_SESSION_TIMEOUT, MIN_REQUEST_BYTES, NEGOTIATED, Limits
from ratatoskr.messages.canonical import is_canonical
from ratatoskr.messages.chain import Position
from ratatoskr.messages.envelopes import failure_from_error, failure_to_error
from ratatoskr.messages.wire import MAX_DEPTH, shape_of

PROTOCOL_VERSION = 1
SERVER_AUTH = b"ratatoskr-v1 server-auth"
DEVICE_AUTH = b"ratatoskr-v1 device-auth"
MAX_TOKEN_BYTES = 4096
_MESSAGE_FIELDS = 256
"""Fields of one message, at all depths, each byte of packed numbers counted as one. Honest ones have half as many."""
_ANSWER_MULTIPLE = 512
_CONNECT_OPERATION = 1
_HASH_BYTES = 32

M = TypeVar("M", bound=Message)


def transcript_bytes(label: bytes, h: bytes, payload: bytes) -> bytes:
    """What sigS and sigC sign: the transcript hash before the payload, and the payload's hash."""
    return signed_input(label, h, sha256(payload).digest())


@dataclass(frozen=True, slots=True)
class ServerHello:
    """The server's part of the second message. Times in seconds, ``time`` since the epoch."""

    chain: tuple[v1.IdentityCertificate, ...]
    time: float
    request_bytes: int
    accept_timeout: float

    def encode(self) -> bytes:
        """B2."""
        return v1.ServerHello(
            chain=self.chain,
            time_ms=int(self.time * 1000),
            request_bytes=self.request_bytes,
            accept_timeout_ms=int(self.accept_timeout * 1000),
        ).SerializeToString(deterministic=True)

    @classmethod
    def decode(cls, data: bytes) -> ServerHello:
        """Read B2. Raises ProtocolFault."""
        message = _parse(v1.ServerHello, data)
        _require(
            0 < message.accept_timeout_ms <= MAX_ACCEPT_TIMEOUT * 1000,
            "the server's accept timeout is not from 1 ms to an hour",
        )
        _require(message.request_bytes >= MIN_REQUEST_BYTES, "the server reads no connection request of useful length")
        return cls(
            tuple(message.chain), message.time_ms / 1000, message.request_bytes, message.accept_timeout_ms / 1000
        )


@dataclass(frozen=True, slots=True)
class Resume:
    """A client asks to go on with a session. The positions are what it has received and sent."""

    session_id: bytes
    attempt: int
    received: Position
    sent: Position
    proof: bytes

    def to_message(self) -> v1.Resume:
        """As the wire says it."""
        return v1.Resume(
            session_id=self.session_id,
            attempt=self.attempt,
            received=_position_message(self.received),
            sent=_position_message(self.sent),
            proof=self.proof,
        )

    @classmethod
    def of(cls, message: v1.Resume) -> Resume:
        """Read it. Raises ProtocolFault."""
        _require(len(message.session_id) == _HASH_BYTES, f"the session's id has not {_HASH_BYTES} bytes")
        _require(message.attempt > 0, "attempts to resume count from 1")
        _require(len(message.proof) == _HASH_BYTES, f"the proof of a resume has not {_HASH_BYTES} bytes")
        return cls(
            message.session_id, message.attempt, _position(message.received), _position(message.sent), message.proof
        )


@dataclass(frozen=True, slots=True)
class Resumed:
    """A server goes on with a session. The positions are what it has received and sent."""

    received: Position
    sent: Position
    proof: bytes

    def to_message(self) -> v1.Resumed:
        """As the wire says it."""
        return v1.Resumed(
            received=_position_message(self.received), sent=_position_message(self.sent), proof=self.proof
        )

    @classmethod
    def of(cls, message: v1.Resumed) -> Resumed:
        """Read it. Raises ProtocolFault."""
        _require(len(message.proof) == _HASH_BYTES, f"the proof of a resume has not {_HASH_BYTES} bytes")
        return cls(_position(message.received), _position(message.sent), message.proof)


@dataclass(frozen=True, slots=True)
class ConnectionRequest:
    """The client's part of the third message. ``limits`` is what the client is willing to receive, ``session_timeout``
    how many seconds it keeps a session that has no transport.
    """

    chain: tuple[v1.IdentityCertificate, ...]
    suites: tuple[int, ...]
    versions: tuple[int, ...]
    token: bytes
    limits: v1.SessionLimits
    session_timeout: float = 0.0
    resume: Resume | None = None

    def encode(self, nonce: bytes, issued_at_ms: int) -> bytes:
        """B3: a RatatoskrRequest of type CONNECTION_REQUEST."""
        payload = v1.ConnectionRequest(
            chain=self.chain,
            suites=self.suites,
            versions=self.versions,
            token=self.token,
            limits=self.limits,
            resume=None if self.resume is None else self.resume.to_message(),
            session_ms=int(self.session_timeout * 1000),
        ).SerializeToString(deterministic=True)
        return v1.RatatoskrRequest(
            type=v1.MESSAGE_TYPE_CONNECTION_REQUEST,
            operation=_CONNECT_OPERATION,
            nonce=nonce,
            issued_at_ms=issued_at_ms,
            payload=payload,
        ).SerializeToString(deterministic=True)

    @classmethod
    def decode(cls, data: bytes) -> ConnectionRequest:
        """Read B3. Raises ProtocolFault."""
        request = _parse(v1.RatatoskrRequest, data)
        _require(
            (request.type, request.operation) == (v1.MESSAGE_TYPE_CONNECTION_REQUEST, _CONNECT_OPERATION),
            "the third message is no connection request",
        )
        _require(len(request.nonce) == 16, "the nonce has not 16 bytes")
        message = _parse(v1.ConnectionRequest, request.payload)
        _require(0 < len(message.suites) <= 16 and 0 < len(message.versions) <= 16, "no or too many suites or versions")
        _require(len(message.token) <= MAX_TOKEN_BYTES, f"the token has more than {MAX_TOKEN_BYTES} bytes")
        return cls(
            tuple(message.chain),
            tuple(message.suites),
            tuple(message.versions),
            message.token,
            message.limits,
            _session_timeout(message.session_ms),
            Resume.of(message.resume) if message.HasField("resume") else None,
        )


@dataclass(frozen=True, slots=True)
class ConnectionResponse:
    """The server's answer: limits and retention (seconds), or a failure. ``session_timeout``: how many seconds it keeps
    a session that has no transport.
    """

    limits: v1.SessionLimits | None
    retention: float
    failure: Failure | None
    session_timeout: float = 0.0
    resumed: Resumed | None = None

    def encode(self) -> bytes:
        """The plaintext of the CONNECTION_RESPONSE record, padded so that its length tells nothing."""
        response = v1.RatatoskrResponse(
            type=v1.MESSAGE_TYPE_CONNECTION_RESPONSE, operation=_CONNECT_OPERATION, last=True
        )
        if self.failure is not None:
            response.error.CopyFrom(failure_to_error(self.failure))
        else:
            response.payload = v1.ConnectionResponse(
                limits=self.limits,
                retention_ms=int(self.retention * 1000),
                resumed=None if self.resumed is None else self.resumed.to_message(),
                session_ms=int(self.session_timeout * 1000),
            ).SerializeToString(deterministic=True)
        answer = v1.ConnectionAnswer(response=response)
        bare = answer.ByteSize()
        # From 128 bytes on the field's tag and length take three.
        answer.padding = bytes(128 + -(bare + 3 + 128) % _ANSWER_MULTIPLE)
        return answer.SerializeToString(deterministic=True)

    @classmethod
    def decode(cls, data: bytes) -> ConnectionResponse:
        """Read the answer. Raises ProtocolFault."""
        response = _parse(v1.ConnectionAnswer, data).response
        _require(
            (response.type, response.operation) == (v1.MESSAGE_TYPE_CONNECTION_RESPONSE, _CONNECT_OPERATION),
            "the first record is no connection response",
        )
        if response.HasField("error"):
            return cls(None, 0.0, failure_from_error(response.error))
        message = _parse(v1.ConnectionResponse, response.payload)
        return cls(
            message.limits,
            message.retention_ms / 1000,
            None,
            _session_timeout(message.session_ms),
            Resumed.of(message.resumed) if message.HasField("resumed") else None,
        )


def announced(limits: Limits) -> v1.SessionLimits:
    """What this side is willing to receive, as the peer is told."""
    return v1.SessionLimits(**{name: getattr(limits, name) for name in NEGOTIATED})


def negotiate(own: Limits, theirs: v1.SessionLimits) -> Limits:
    """What both sides obey. Raises ProtocolFault where the peer's announcement cannot be lived with."""
    try:
        return own.negotiated(**{name: getattr(theirs, name) for name in NEGOTIATED})
    except LocalProtocolError as error:
        raise ProtocolFault(Fault.REFUSED, "admission.limits", str(error)) from None


def _session_timeout(milliseconds: int) -> float:
    _require(milliseconds <= MAX_SESSION_TIMEOUT * 1000, "the peer would keep a session for more than a week")
    return milliseconds / 1000


def _position(message: v1.Position) -> Position:
    """Read a position. Raises ProtocolFault."""
    _require(len(message.chain) == _HASH_BYTES, f"a chain's value has not {_HASH_BYTES} bytes")
    _require(message.sealed <= message.number, "a position is sealed beyond its number")
    return Position(message.number, message.chain, message.sealed)


def _position_message(position: Position) -> v1.Position:
    return v1.Position(number=position.number, chain=position.chain, sealed=position.sealed)


def _parse(cls: type[M], data: bytes) -> M:
    """Read one message, whose sender may be anybody: its fields are counted before it is parsed."""
    if shape_of(cls).left(data, 0, len(data), _MESSAGE_FIELDS, MAX_DEPTH) < 0:
        raise ProtocolFault(
            Fault.REFUSED,
            "admission.malformed",
            f"these bytes are no {cls.DESCRIPTOR.name} of at most {_MESSAGE_FIELDS} fields",
        )
    try:
        message = cls.FromString(data)
    except DecodeError:
        raise ProtocolFault(Fault.REFUSED, "admission.malformed", f"these bytes are no {cls.DESCRIPTOR.name}") from None
    _require(is_canonical(message, data), f"{cls.DESCRIPTOR.name} is not in its canonical encoding")
    return message


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ProtocolFault(Fault.REFUSED, "admission.field", otherwise)
