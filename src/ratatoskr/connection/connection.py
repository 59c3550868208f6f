"""Connection: the machine of one transport. Bytes in; events and outbound bytes out.

The driver's whole duty::

    while True:
        match connection.poll(now()):
            case Transmit(data):        write data, then connection.sent()
            case Disconnect(...):       close the transport, then connection.receive_eof()
            case Wait(until):           read with that deadline: connection.receive(data), or connection.receive_eof()
            case Closed():              done
            case event:                 give it to the application

Poll until ``Wait`` after any call, and between reads. While a write is under way go on reading and polling.
"""

from __future__ import annotations

from ratatoskr.config import Config
from ratatoskr.connection.client import ClientSide
from ratatoskr.connection.engine import Engine, make_session
from ratatoskr.connection.server import ServerSide
from ratatoskr.connection.states import State
from ratatoskr.errors import Failure, LocalProtocolError
from ratatoskr.identity import VerifiedPeer
from ratatoskr.messages import Direction
from ratatoskr.session import CallSurface, ResumableSession


def new_session(config: Config) -> ResumableSession:
    """A client's session that has not been on any connection: requests may be made already, and wait for the first one,
    ``Connection.client(session=…)``. It is polled until then.
    """
    session = make_session(config, Direction.FROM_CLIENT)
    return ResumableSession(session, config.identity.kid, is_client=True)


class Connection(Engine, CallSurface):
    """One end of one transport. Make it with :meth:`client` or :meth:`server`.

    No method but :meth:`poll` takes the time, and none performs I/O. No bytes that the peer sends make a method raise.
    Misuse raises :class:`~ratatoskr.errors.LocalProtocolError` and changes nothing.
    """

    @classmethod
    def client(cls, config: Config, *, server_name: str, session: ResumableSession | None = None) -> Connection:
        """A client's end. The server must prove to be ``server_name``.

        ``session``: of an earlier connection that has ended, to go on with. The event ``Opened`` says whether it does.
        Raises LocalProtocolError where the session has ended, is on another connection, or is another identity's.
        """
        return cls(config, ClientSide(config, server_name, session.claim if session is not None else None), session)

    @classmethod
    def server(cls, config: Config) -> Connection:
        """A server's end."""
        return cls(config, ServerSide(config))

    @property
    def state(self) -> State:
        """Where the connection is; always matches what poll returned last."""
        return self._machine.state

    @property
    def peer(self) -> VerifiedPeer | None:
        """Who the other end proved to be; None before ``ConnectionRequested`` or ``Opened``."""
        return self._peer

    @property
    def session(self) -> ResumableSession | None:
        """The session, where it can outlive this connection; None where ``Config.session_timeout`` of either side is 0,
        once the session has ended, and where another connection has taken it over.

        After ``Closed``, poll it in place of this connection.
        """
        session = self._resumable
        return None if session is None or session.ended else session

    @property
    def round_trip(self) -> float | None:
        """Seconds from the last ping to its answer. Until a quiet line is pinged it is the handshake's; None before."""
        return self._liveness.round_trip

    @property
    def retention(self) -> float | None:
        """Seconds for which the server keeps outcomes of what runs at most once, as it says; None before ``Opened``."""
        return self._side.retention

    # From the transport

    def receive(self, data: bytes) -> None:
        """Bytes came, in any chunking; none prove nothing. They are judged by the next poll."""
        if data and self._machine.state not in (State.CLOSING, State.CLOSED):
            self._reader.feed(data)
            self._liveness.heard = True

    def receive_eof(self, error: str | None = None) -> None:
        """No more bytes will come; ``error`` says why, for the log. Idempotent."""
        if self._eof is None:
            self._eof = error or "the transport ended"
            self._urged = True

    def sent(self) -> None:
        """The data of the last Transmit is written. Ignored where none is on loan."""
        self._writer.on_loan = False

    # From the application

    def accept(self, *, session: ResumableSession | None = None) -> Connection | None:
        """Let the client of ``ConnectionRequested`` in, to a session of its own, or to go on with one.

        ``session``: the one whose id ``ConnectionRequested.resume`` named. It goes on where this is its client and both
        ends agree about what was said; ``Opened`` tells. Where the client does not prove to be its own, a new session
        begins. Where a later attempt was accepted before, or the ends disagree, the client is rejected.

        Returns the connection that the session was on until now, if any: it has ended, and its driver is to poll it.
        """
        if session is None or not self._may_decide():
            self._decide(True)
            return None
        verdict, before = self._grant(session)
        self._decide(verdict if isinstance(verdict, Failure) else True)
        return before if isinstance(before, Connection) else None

    def reject(self, failure: Failure) -> None:
        """Send the client of ``ConnectionRequested`` away; it is told the failure."""
        self._decide(failure)

    def _decide(self, decision: Failure | bool) -> None:
        if self._may_decide():
            self._decision = decision
            self._urged = True

    def _may_decide(self) -> bool:
        """False where the client is gone. Raises LocalProtocolError where there is nothing to decide."""
        if self._machine.state in (State.CLOSING, State.CLOSED):
            return False
        if self._machine.state is not State.DECIDING or self._decision is not None:
            raise LocalProtocolError("accept() or reject() answers ConnectionRequested, once")
        return True

    def _check_open(self) -> None:
        if self._released and (self._resumable is None or self._resumable.ended):
            raise LocalProtocolError("the connection is closed: make a new one")

    def close(self, *, drain: bool = True, reason: str = "") -> None:
        """End the connection. With ``drain``, open calls complete first, for up to ``Limits.drain_timeout``."""
        if drain and self._machine.state in (State.OPEN, State.DRAINING):
            self._session.drain(reason)
        else:
            self._abandoned = True
        self._urged = True
