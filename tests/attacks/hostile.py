"""A hostile peer that is authenticated: a real handshake, a certified identity, and then anything it likes to say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ratatoskr import v1
from ratatoskr.admission import (
    DEVICE_AUTH,
    SERVER_AUTH,
    ConnectionRequest,
    ConnectionResponse,
    Resume,
    Resumed,
    ServerHello,
    announced,
    transcript_bytes,
)
from ratatoskr.channel import (
    XX_AESGCM,
    ClientHandshake,
    Established,
    RecordReader,
    RecordType,
    ServerHandshake,
    Suite,
    encode_record,
)
from ratatoskr.config import Config
from ratatoskr.connection import Connection
from ratatoskr.events import ConnectionRequested, Opened
from ratatoskr.identity import Identity
from ratatoskr.limits import MAX_RECORD_BYTES, Limits
from ratatoskr.messages import Direction, KindRegistry, MessageSerializer
from ratatoskr.messages.standard import STANDARD_KINDS
from ratatoskr.testing import Authority, Clock
from ratatoskr.testing.authority import SERVER_NAME
from tests.attacks.victim import Victim

AUTHORITY = Authority("attacks")
SERVER = AUTHORITY.server(SERVER_NAME)
DEVICE = AUTHORITY.device()
CLIENT, SERVER_SIDE = "client", "server"
SIDES = (CLIENT, SERVER_SIDE)

Rewrite = Callable[[bytes], bytes]


def same(body: bytes) -> bytes:
    return body


def make_config(
    side: str,
    *,
    limits: Limits | None = None,
    suite: Suite = XX_AESGCM,
    kinds: KindRegistry = STANDARD_KINDS,
    **changes: Any,
) -> Config:
    """What the end of that side is told. The suite without a KEM is the fast one; nothing past the handshake depends
    on it.
    """
    if side == CLIENT:
        config = AUTHORITY.client_config(DEVICE, limits=limits, kinds=kinds, suites=(suite,))
    else:
        config = AUTHORITY.server_config(identity=SERVER, limits=limits, kinds=kinds, suites=(suite,))
    return replace(config, **changes)


def make_connection(side: str, config: Config) -> Connection:
    """The end of that side."""
    if side == CLIENT:
        return Connection.client(config, server_name=SERVER_NAME)
    return Connection.server(config)


def make_victim(side: str, **options: Any) -> Victim:
    """The end of that side, and its driver; ``options`` as of :func:`make_config`."""
    return Victim(make_connection(side, make_config(side, **options)), Clock(), is_client=side == CLIENT)


class HostilePeer:
    """The other end of a victim. Every step of the handshake is honest unless it is told otherwise.

    ``identity``: who it proves to be. ``rewrite_body``: what becomes of its B2 or B3 before it is signed.
    ``rewrite_signed``: of what is signed. ``rewrite_answer``: of the plaintext of its CONNECTION_RESPONSE.

    ``kept``: how many seconds it keeps a session without a line. ``claim``, ``grant``: which session it goes on with,
    as a client or as a server, by the transcript hash that the proof covers.
    """

    def __init__(
        self,
        victim: Victim | str,
        *,
        identity: Identity | None = None,
        chain: Iterable[v1.IdentityCertificate] | None = None,
        limits: Limits | None = None,
        suite: Suite = XX_AESGCM,
        rewrite_body: Rewrite = same,
        rewrite_signed: Rewrite = same,
        rewrite_answer: Rewrite = same,
        kept: float = 0.0,
        claim: Callable[[bytes], Resume] | None = None,
        grant: Callable[[bytes], Resumed] | None = None,
    ) -> None:
        self.victim = make_victim(victim, suite=suite) if isinstance(victim, str) else victim
        self.is_client = not self.victim.is_client
        self.identity = identity or (DEVICE if self.is_client else SERVER)
        self.chain = tuple(self.identity.wire_chain() if chain is None else chain)
        self.limits = limits or Limits()
        self.suite = suite
        self.rewrite_body = rewrite_body
        self.rewrite_signed = rewrite_signed
        self.rewrite_answer = rewrite_answer
        self.kept = kept
        self.claim, self.grant = claim, grant
        self.direction = Direction.FROM_CLIENT if self.is_client else Direction.FROM_SERVER
        keys = self.identity.keys.exchange
        self.client_handshake = ClientHandshake(
            static=keys, suite=suite, server_name=SERVER_NAME, entropy=AUTHORITY.entropy
        )
        self.server_handshake = ServerHandshake(static=keys, suites=(suite,), entropy=AUTHORITY.entropy)
        self.established: Established
        self.asked: ConnectionRequest
        """What a client asked of it."""
        self.serializer: MessageSerializer
        self.questions: MessageSerializer
        self.leaves: dict[int, bytes] = {}
        """Of the victim's messages, by number, as they were heard."""
        self.session_id = b""
        self.heard_seal = 0
        """The last of the victim's messages that is under a seal."""
        self._unread: list[tuple[RecordType, bytes, bytes]] = []
        self._reader = RecordReader()

    # The handshake

    def open(self) -> HostilePeer:
        """Complete the handshake; both ends can talk."""
        if self.is_client:
            self.begin()
            self.request()
            assert self.victim.seen(ConnectionRequested), self.victim.events
            self.victim.connection.accept()
            self.victim.drain()
            self.accepted()
        else:
            self.challenge()
            self.answer()
        assert self.victim.seen(Opened), self.victim.events
        self.victim.events.clear()
        self._bind()
        return self

    def begin(self, chunks: Iterable[int] = ()) -> None:
        """As a client: m1."""
        self.victim.drain()
        self.victim.feed(encode_record(RecordType.M1, self.client_handshake.m1()), chunks)

    def m3(self) -> bytes:
        """As a client: read m2; the record of m3."""
        handshake = self.client_handshake
        (record,) = self.records()
        handshake.read_m2(record[2])

        def signed(h: bytes) -> bytes:
            resume = self.claim(h) if self.claim is not None else None
            request = ConnectionRequest(
                self.chain, (self.suite.id,), (1,), b"token", announced(self.limits), self.kept, resume
            )
            body = self.rewrite_body(request.encode(AUTHORITY.entropy(16), 1_700_000_000_000))
            return body + self._sign(DEVICE_AUTH, h, body)

        m3 = handshake.m3(signed)
        self.established = handshake.establish()
        return encode_record(RecordType.M3, m3)

    def request(self, chunks: Iterable[int] = ()) -> None:
        """As a client: m2 and m3."""
        self.victim.feed(self.m3(), chunks)

    def accepted(self) -> ConnectionResponse:
        """As a client: read the server's answer."""
        response, *self._unread = self.records()
        return ConnectionResponse.decode(self.established.receive.open(*response))

    def m2(self) -> bytes:
        """As a server: read m1; the record of m2."""
        handshake = self.server_handshake
        self.victim.drain()
        (record,) = self.records()
        handshake.read_m1(record[2])
        body = self.rewrite_body(ServerHello(self.chain, self.victim.clock.now.wall, 16384, 10.0).encode())
        m2 = handshake.m2(lambda h: body + self._sign(SERVER_AUTH, h, body))
        return encode_record(RecordType.M2, m2)

    def challenge(self, chunks: Iterable[int] = ()) -> None:
        """As a server: m1 and m2."""
        self.victim.feed(self.m2(), chunks)

    def response(self) -> bytes:
        """As a server: read m3; the record of CONNECTION_RESPONSE."""
        handshake = self.server_handshake
        (record,) = self.records()
        self.asked = ConnectionRequest.decode(handshake.read_m3(record[2]).body)
        self.established = handshake.establish()
        resumed = self.grant(self.established.h) if self.grant is not None else None
        answer = ConnectionResponse(announced(self.limits), 3600.0, None, self.kept, resumed)
        plaintext = self.rewrite_answer(answer.encode())
        return self.established.send.protect(RecordType.RESPONSE, plaintext)

    def answer(self, chunks: Iterable[int] = ()) -> None:
        """As a server: m3 and CONNECTION_RESPONSE."""
        self.victim.feed(self.response(), chunks)

    def _sign(self, label: bytes, h: bytes, body: bytes) -> bytes:
        return self.identity.sign(self.rewrite_signed(transcript_bytes(label, h, body)))

    def _bind(self) -> None:
        self.session_id = self.established.session_id
        self.victim_identity = SERVER if self.is_client else DEVICE
        self.serializer = self.make_serializer()
        self.questions = self.make_serializer(direction=self.direction.other, peer_kid=self.identity.kid)

    def take_over(self, old: HostilePeer) -> None:
        """Go on with a session of another line, behind all that was said there."""
        self.session_id, self.victim_identity = old.session_id, old.victim_identity
        self.questions, self.leaves, self.heard_seal = old.questions, old.leaves, old.heard_seal
        self.serializer = old.serializer

    # The session

    def make_serializer(self, **changes: Any) -> MessageSerializer:
        """This peer's sending end, from the first number on; ``changes`` make it somebody else's."""
        arguments: dict[str, Any] = {
            "signer": self.identity,
            "session_id": self.session_id,
            "direction": self.direction,
            "peer_kid": self.victim_identity.kid,
        }
        return MessageSerializer(**(arguments | changes))

    def records(self) -> list[tuple[RecordType, bytes, bytes]]:
        """The victim's records since the last call, as they are."""
        self._reader.feed(self.victim.written())
        found, self._unread = self._unread, []
        while (record := self._reader.next(lambda _: MAX_RECORD_BYTES)) is not None:
            found.append(record)
        return found

    def hear(self) -> list[v1.Flight]:
        """The victim's flights since the last call."""
        flights = [v1.Flight.FromString(self.established.receive.open(*record)) for record in self.records()]
        for each in flights:
            for envelope in each.envelopes:
                leaf = self.questions.append(envelope)
                self.leaves[self.questions.number] = leaf
            if each.HasField("seal"):
                self.heard_seal = self.questions.number
        return flights

    def heard(self) -> int:
        """Hear, and say how many messages the victim has sent by now."""
        self.hear()
        return self.questions.number

    def record(self, plaintext: bytes, type: RecordType = RecordType.DATA) -> bytes:
        """Any plaintext, protected as it should be."""
        return self.established.send.protect(type, plaintext)

    def say(self, flight: v1.Flight | bytes, chunks: Iterable[int] = ()) -> Victim:
        """Send a flight, or any other plaintext."""
        plaintext = flight if isinstance(flight, bytes) else flight.SerializeToString()
        self.victim.feed(self.record(plaintext), chunks)
        return self.victim

    def flight(self, *envelopes: bytes, sealed: bool = True, **fields: Any) -> v1.Flight:
        """The next flight as it should be, with ``fields`` changed."""
        first = self.serializer.number + 1
        for envelope in envelopes:
            self.serializer.append(envelope)
        if sealed:
            fields.setdefault("seal", self.serializer.seal(self.victim.clock.now.wall_ms))
        return v1.Flight(**{"first_number": first, "envelopes": envelopes, **fields})
