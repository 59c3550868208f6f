"""The client's side of the handshake: what it says, whom it believes."""

from __future__ import annotations

from collections.abc import Callable

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
from ratatoskr.channel import ClientHandshake, Established, RecordType, encode_record
from ratatoskr.config import Config
from ratatoskr.connection.proof import prove
from ratatoskr.errors import Failure, Fault, ProtocolFault
from ratatoskr.identity import Role, VerifiedPeer
from ratatoskr.limits import Limits
from ratatoskr.messages.nonces import NONCE_BYTES
from ratatoskr.timers import Now


class ClientSide:
    """Facts that the handshake brings: ``peer`` and ``established`` from the second message on, ``limits`` from the
    server's answer on.
    """

    peer: VerifiedPeer
    established: Established

    def __init__(
        self,
        config: Config,
        server_name: str,
        claim: Callable[[VerifiedPeer, bytes], Resume | None] | None = None,
    ) -> None:
        self._config = config
        self._claim = claim
        self.asked: bool = False
        """Whether the server was asked to go on with a session."""
        self.resumed: Resumed | None = None
        """What the server says where it does."""
        self.session_timeout: float = 0.0
        """How long a session is kept without a transport, in seconds."""
        self.retention: float | None = None
        """How long the server keeps outcomes, in seconds; from its answer on."""
        self._server_name = server_name
        self._handshake = ClientHandshake(
            static=config.identity.keys.exchange,
            suite=config.suites[0],
            server_name=server_name,
            entropy=config.entropy,
        )
        self.limits: Limits = config.limits
        self.decision_seconds: float = config.limits.accept_timeout + config.limits.handshake_timeout
        """How long the server's answer to the third message may take."""
        self.failure: Failure | None = None
        """Why the server's application rejected the request."""

    def hello(self) -> bytes:
        """The first message, as a record."""
        return encode_record(RecordType.M1, self._handshake.m1())

    def request(self, body: bytes, now: Now) -> bytes:
        """Judge the second message; the third, as a record. Raises ProtocolFault."""
        config = self._config
        payload = self._handshake.read_m2(body)
        hello = ServerHello.decode(payload.body)
        peer = config.trust.judge(
            hello.chain, roles={Role.SERVER}, server_name=self._server_name, at=now.wall, server_time=hello.time
        )
        prove(peer, self._handshake.server_static, payload, SERVER_AUTH)
        nonce = config.entropy(NONCE_BYTES)

        def signed(h: bytes) -> bytes:
            resume = self._claim(peer, h) if self._claim is not None else None
            self.asked = resume is not None
            request = ConnectionRequest(
                tuple(config.identity.wire_chain()),
                tuple(suite.id for suite in config.suites),
                (PROTOCOL_VERSION,),
                config.token,
                announced(config.limits),
                config.session_timeout,
                resume,
            ).encode(nonce, now.wall_ms)
            return request + config.identity.sign(transcript_bytes(DEVICE_AUTH, h, request))

        record = self._handshake.m3(signed)
        if len(record) > hello.request_bytes:
            raise ProtocolFault(
                Fault.REFUSED,
                "admission.length",
                f"the connection request has {len(record)} bytes; the server reads {hello.request_bytes}: "
                "shorten the token or the certificate chain",
            )
        self.established = self._handshake.establish()
        self.peer = peer
        self.decision_seconds = (
            min(hello.accept_timeout, config.limits.accept_timeout) + config.limits.handshake_timeout
        )
        return encode_record(RecordType.M3, record)

    def answered(self, kind: int, header: bytes, body: bytes) -> None:
        """Read the server's answer. Raises ProtocolFault, also where it is a rejection; ``failure`` says why then."""
        response = ConnectionResponse.decode(self.established.receive.open(kind, header, body))
        if response.limits is None:
            self.failure = response.failure
            raise ProtocolFault(Fault.REJECTED, "admission.rejected", str(response.failure))
        self.limits = negotiate(self._config.limits, response.limits)
        self.session_timeout = min(self._config.session_timeout, response.session_timeout)
        self.retention = response.retention
        self.resumed = response.resumed
