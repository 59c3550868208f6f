"""The server's side of the handshake: what it says, whom it believes, how it answers."""

from __future__ import annotations

from ratatoskr.admission import (
    DEVICE_AUTH,
    PROTOCOL_VERSION,
    SERVER_AUTH,
    ConnectionRequest,
    ConnectionResponse,
    Resume,
    Resumed,
    ServerHello,
    announced,
    negotiate,
    transcript_bytes,
)
from ratatoskr.channel import Established, RecordType, ServerHandshake, encode_record
from ratatoskr.config import Config
from ratatoskr.connection.proof import prove
from ratatoskr.errors import Failure, Fault, ProtocolFault
from ratatoskr.identity import Role, VerifiedPeer
from ratatoskr.limits import Limits
from ratatoskr.timers import Now


class ServerSide:
    """Facts that the handshake brings, all from the third message on."""

    peer: VerifiedPeer
    established: Established
    token: bytes
    resume: Resume | None
    """What the client says of the session that it wants to go on with."""
    resume_h: bytes
    """The transcript hash that the client's proof covers."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._handshake = ServerHandshake(
            static=config.identity.keys.exchange, suites=config.suites, entropy=config.entropy
        )
        self.m1_limit: int = self._handshake.m1_limit
        """Longest first message, in bytes."""
        self.m3_limit: int = config.limits.handshake_bytes - self.m1_limit
        """Longest third message, in bytes."""
        self.limits: Limits = config.limits
        self.decision_seconds: float = config.limits.accept_timeout
        """How long the application may take to decide."""
        self.session_timeout: float = 0.0
        """How long a session is kept without a transport, in seconds; from the third message on."""
        self.retention: float | None = None
        """How long outcomes are kept, in seconds; from the answer on that lets the client in."""
        self.failure: Failure | None = None
        """Why the application rejected the request."""

    def challenge(self, body: bytes, now: Now) -> bytes:
        """Judge the first message; the second, as a record. Raises ProtocolFault."""
        config = self._config
        self._handshake.read_m1(body)
        hello = ServerHello(
            tuple(config.identity.wire_chain()), now.wall_ms / 1000, self.m3_limit, config.limits.accept_timeout
        ).encode()
        body = self._handshake.m2(lambda h: hello + config.identity.sign(transcript_bytes(SERVER_AUTH, h, hello)))
        return encode_record(RecordType.M2, body)

    def admit(self, body: bytes, now: Now) -> VerifiedPeer:
        """Judge the third message: who the client is. Raises ProtocolFault."""
        config = self._config
        payload = self._handshake.read_m3(body)
        request = ConnectionRequest.decode(payload.body)
        peer = config.trust.judge(request.chain, roles={Role.DEVICE, Role.PROVIDER}, at=now.wall)
        prove(peer, self._handshake.client_static, payload, DEVICE_AUTH)
        if self._handshake.suite.id != request.suites[0] or PROTOCOL_VERSION not in request.versions:
            raise ProtocolFault(
                Fault.REFUSED, "admission.downgrade", "the suite in use is not the one that the client prefers"
            )
        self.limits = negotiate(config.limits, request.limits)
        self.session_timeout = min(config.session_timeout, request.session_timeout)
        self.token = request.token
        self.resume, self.resume_h = request.resume, payload.h
        self.established = self._handshake.establish()
        self.peer = peer
        return peer

    def answer(self, failure: Failure | None, resumed: Resumed | None) -> bytes:
        """Acceptance, to a session of its own or to one that goes on, or a rejection, as a record."""
        self.failure = failure
        config, limits = self._config, None
        if failure is None:
            limits, self.retention = announced(config.limits), config.retention
        response = ConnectionResponse(limits, config.retention, failure, config.session_timeout, resumed)
        return self.established.send.protect(RecordType.RESPONSE, response.encode())
