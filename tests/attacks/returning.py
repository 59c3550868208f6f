"""A peer whose line is lost, and that comes again, with an account of its session that is true where it likes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hmac import digest
from typing import Any

from ratatoskr.admission import Resume, Resumed
from ratatoskr.connection import Connection
from ratatoskr.events import ConnectionRequested, Opened
from ratatoskr.messages import Position
from ratatoskr.session import ResumableSession
from ratatoskr.session.resumable import CLIENT_PROOF, SERVER_PROOF
from ratatoskr.testing import Clock
from ratatoskr.testing.authority import SERVER_NAME
from tests.attacks.hostile import CLIENT, SERVER_SIDE, HostilePeer, make_config
from tests.attacks.situations import ask
from tests.attacks.victim import Victim
from tests.unit.messages.support import envelope, search

KEPT = 60.0
SEARCH = envelope(search())


def prove(label: bytes, secret: bytes, h: bytes) -> bytes:
    """A proof, by the book."""
    return digest(secret, label + b"\0" + h, "sha256")


@dataclass(frozen=True)
class Account:
    """What one end of a session says of it. ``proof``: by the transcript hash that it covers."""

    session_id: bytes
    attempt: int
    received: Position
    sent: Position
    proof: Callable[[bytes], bytes]

    def claim(self, h: bytes) -> Resume:
        """As a client says it in M3."""
        return Resume(self.session_id, self.attempt, self.received, self.sent, self.proof(h))

    def grant(self, h: bytes) -> Resumed:
        """As a server says it in RESPONSE."""
        return Resumed(self.received, self.sent, self.proof(h))


class Session:
    """A victim's session with a hostile peer, over any number of lines.

    It begins with two requests of the victim's, of which the first is acknowledged, and three of the peer's.
    """

    def __init__(self, side: str, **options: Any) -> None:
        self.side = side
        self.options = options
        self.config = make_config(side, session_timeout=KEPT, **options)
        connection = self._connection(None)
        self.peer = HostilePeer(Victim(connection, Clock(), is_client=side == CLIENT), kept=KEPT).open()
        self.secret = self.peer.established.resume_secret
        self.attempts = 0
        session = connection.session
        assert session is not None
        self.kept: ResumableSession = session
        self.calls = ask(self.peer)
        self.says(SEARCH, SEARCH, SEARCH)

    def _connection(self, session: ResumableSession | None) -> Connection:
        if self.side == SERVER_SIDE:
            return Connection.server(self.config)
        return Connection.client(self.config, server_name=SERVER_NAME, session=session)

    @property
    def victim(self) -> Victim:
        return self.peer.victim

    def says(self, *envelopes: bytes, ack: int = 1, sealed: bool = True) -> None:
        """The peer says what it should."""
        self.peer.say(self.peer.flight(*envelopes, ack=ack, sealed=sealed))

    def account(self, **changes: Any) -> Account:
        """The truth about the session, as the peer knows it, but for the changes."""
        peer = self.peer
        peer.hear()
        received = peer.questions.position._replace(sealed=peer.heard_seal)
        label = CLIENT_PROOF if peer.is_client else SERVER_PROOF
        true = Account(
            peer.session_id,
            self.attempts + 1,
            received,
            peer.serializer.position,
            lambda h: prove(label, self.secret, h),
        )
        return replace(true, **changes)

    def line(self, account: Account | None = None, **options: Any) -> HostilePeer:
        """Another line, on which the victim is not driven yet. ``options`` as of HostilePeer."""
        victim = Victim(self._connection(self.kept), self.victim.clock, is_client=self.side == CLIENT)
        if account is not None:
            options = {"claim": account.claim, "grant": account.grant} | options
        return HostilePeer(victim, kept=KEPT, **options)

    def asks(self, account: Account | None = None, **options: Any) -> HostilePeer:
        """A client comes to a server: up to its decision."""
        peer = self.line(account, **options)
        peer.begin()
        peer.request()
        return peer

    def comes(self, account: Account | None = None, **options: Any) -> HostilePeer:
        """A client comes to a server, which goes on with the session if it may."""
        peer = self.asks(account, **options)
        if peer.victim.seen(ConnectionRequested):
            peer.victim.connection.accept(session=self.kept)
            peer.victim.drain()
        return peer

    def meets(self, account: Account | None = None, **options: Any) -> HostilePeer:
        """A client that wants to go on with its session comes to a hostile server."""
        peer = self.line(account, **options)
        peer.challenge()
        if peer.victim.closed is None:
            peer.answer()
        return peer

    def goes_on(self, **changes: Any) -> HostilePeer:
        """The honest owner comes again, and goes on."""
        account = self.account(**changes)
        old = self.peer
        peer = self.comes(account) if self.side == SERVER_SIDE else self.meets(account)
        if self.side == SERVER_SIDE:
            assert peer.accepted().resumed is not None
        (opened,) = peer.victim.seen(Opened)
        assert opened.resumed
        assert opened.session_id == old.session_id
        self.attempts = account.attempt
        peer.take_over(old)
        self.peer = peer
        return peer

    def lose(self) -> None:
        """The line ends, and the victim notices."""
        self.victim.eof()
        assert self.kept.transport is None
