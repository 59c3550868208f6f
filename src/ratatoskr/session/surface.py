"""The surface of a session: calls, as its application makes and answers them, with a transport or without one."""

from __future__ import annotations

from google.protobuf.message import Message

from ratatoskr.errors import Failure
from ratatoskr.events import RequestId
from ratatoskr.messages import AnyKind
from ratatoskr.session.session import Session


class CallSurface:
    """What a :class:`~ratatoskr.Connection` and a :class:`~ratatoskr.ResumableSession` have in common."""

    _session: Session

    @property
    def session_id(self) -> bytes:
        """32 bytes, the same at both ends; empty before the session has been on a connection."""
        return self._session.session_id

    @property
    def takes_requests(self) -> bool:
        """Whether a request that is made now may still be sent: nobody has said that the session is to end."""
        return self._session.takes_requests

    def request(
        self,
        kind: AnyKind,
        message: Message,
        *,
        timeout: float | None = None,
        key: str | bytes | None = None,
        expires_at: float | None = None,
        metadata: dict[str, str] | None = None,
        credit: int | None = None,
        issued_at: float | None = None,
    ) -> RequestId:
        """Ask the peer. Exactly one outcome will carry the returned id: ResponseReceived, or StreamEnded after any
        number of ItemReceived where the kind is a stream, or RequestFailed.

        ``timeout``: seconds from the next poll, default ``Limits.request_timeout``. ``key``: the business key of a
        kind declared ``once=True``. ``expires_at``: seconds since the epoch, from when on the peer must not execute it.
        ``credit``: items of a stream that may come before any :meth:`grant`, default ``Limits.stream_credit``.
        ``issued_at``: seconds since the epoch, default the next poll; for a request that an earlier process issued.

        May be called before ``Opened``. Raises WouldBlock when the queue is full, LocalProtocolError for misuse.
        """
        self._check_open()
        return self._session.request(
            kind,
            message,
            timeout=timeout,
            key=key,
            expires_at=expires_at,
            metadata=metadata,
            credit=credit,
            issued_at=issued_at,
        )

    def retry(self, id: RequestId, *, timeout: float | None = None) -> RequestId:
        """Make a request that has failed once more, under an id of its own; of this connection or another one.

        Nonce, issue time, expiry and content stay, so what runs at most once is the same operation to the peer.
        Raises as :meth:`request` does.
        """
        self._check_open()
        return self._session.retry(id, timeout)

    def _check_open(self) -> None:
        """Raise LocalProtocolError where no request can be made any more."""
        raise NotImplementedError

    def cancel(self, id: RequestId) -> None:
        """Ask the peer to end a request of ours. No-op where its outcome has come.

        It decides nothing: the outcome is what the peer answers, and may be the answer that was asked for. Items that
        come from now on are dropped. A request that has no number yet fails at once, surely not processed. Raises
        LocalProtocolError for the id of anything else.
        """
        self._session.cancel(id)

    def grant(self, id: RequestId, items: int) -> None:
        """Let so many more items of a stream come, told with the next item that comes. No-op where its outcome has
        come, and after :meth:`cancel`.

        Raises LocalProtocolError for misuse, and where more than ``Limits.stream_credit_ahead`` would be granted and
        not yet have come.
        """
        self._session.grant(id, items)

    def respond(
        self, id: RequestId, message: Message | None = None, *, last: bool = True, replayed: bool = False
    ) -> None:
        """Answer a request. Dropped where the session has ended. Where the request was cancelled or has expired nobody
        waits for the answer, but it frees the slot.

        With ``last=False`` this sends an item of a stream. It raises WouldBlock where the caller takes no more for now,
        or too much waits to be sent; the event ``Writable`` with that id says when to try again. Without a message
        it ends a stream. The last answer never blocks.

        ``replayed`` says that a stored outcome is repeated. Raises LocalProtocolError for misuse, or an answer that
        exceeds ``Limits.envelope_bytes``.
        """
        self._session.respond(id, message, last=last, replayed=replayed)

    def fail(self, id: RequestId, failure: Failure, *, replayed: bool = False) -> None:
        """End a request without an answer. Never blocks. Dropped where :meth:`respond` would be."""
        self._session.fail(id, failure, replayed=replayed)
