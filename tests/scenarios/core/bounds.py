"""What a connection holds: a digest that misuse must leave as it was, and accounts that must be true at all times."""

from __future__ import annotations

from typing import Any

from ratatoskr.connection import Connection
from ratatoskr.session import Session


def digest(connection: Connection) -> tuple[Any, ...]:
    """All that a call may change, cheaply. That somebody waits for ``Writable`` is no part of it."""
    session = connection._session
    asking, answering, sender = session._asking, session._answering, session._sender
    draining, outbox = session._draining, sender._outbox
    return (
        (connection.state, connection._eof, connection._decision, connection._abandoned, connection._urged),
        (connection._ending.closed, connection._ending.disconnect),
        (connection._writer.on_loan, len(connection._writer._records)),
        (connection._reader.buffered, connection._reader.unread, connection._liveness.heard),
        (dict(connection._timers._deadlines), dict(session.timers._deadlines)),
        [(call, call.state, call.granted, call.items, call.number) for call in _outgoing(session)],
        (len(asking.fresh), asking.refusal, list(asking._cancels), list(asking._grants)),
        (asking.calls._queued_bytes, asking.calls._bytes_open),
        [
            (call, call.state, call.credit, len(call.items), call.sent, call.closed)
            for call in answering.calls._unanswered.values()
        ],
        (answering.calls.open, answering.calls._bytes_open, answering.refusal),
        (sender._answers.count, sender.streams._bytes, len(sender.streams), outbox.sent, outbox.acked, outbox.bytes),
        (len(session._inbox), session._inbox.delivered),
        (draining.announced, draining.heard, draining.disconnect_sent, draining.disconnect_received),
    )


def check_bounds(session: Session, *, ended: bool) -> None:
    """Every table is within its limit, and every sum is the sum of what it counts. One that has ended holds nothing."""
    limits = session._limits
    asking, answering, sender = session._asking, session._answering, session._sender
    calls, incoming, outbox, streams = asking.calls, answering.calls, sender._outbox, sender.streams

    waiting_numbers = [number for number, _ in session._inbox._events if number]
    assert all(number > session._inbox.delivered for number in waiting_numbers), "acknowledged before it is delivered"

    queue, open_ = list(calls._queue), list(calls._open.values())
    assert len(queue) <= limits.requests_queued + limits.requests_queued // 8
    assert calls._queued_bytes == sum(call.size for call in queue)
    assert len(open_) <= limits.requests_open
    assert calls._bytes_open == sum(call.size for call in open_)
    assert all(call.number == number for number, call in calls._open.items())
    assert all(call in open_ for call in asking._cancels), "a call that is answered is to be cancelled"
    assert len(asking._grants) <= 2 * limits.requests_open

    assert incoming.open <= limits.requests_open
    assert sender._answers.count <= incoming.open
    waiting = [len(item) for call in streams._waiting for item in call.items]
    assert streams._bytes == sum(waiting)
    assert streams._bytes <= limits.item_bytes_queued + max(waiting, default=0)
    assert len(streams._waiting) <= incoming.open
    unanswered = incoming._unanswered.values()
    assert all(call in unanswered for call in streams._blocked), "somebody waits for room in a stream that has ended"

    assert outbox.bytes == sum(len(envelope) for envelope, *_ in outbox._entries)
    assert outbox.acked <= outbox.sent <= outbox.sent + outbox.unsent == outbox.last
    if outbox.last:
        assert sender._serializer.number == outbox.sent
    assert len(outbox) <= limits.outbox_messages + 2 * limits.requests_open
    if ended:
        held = [queue, open_, waiting, streams._blocked, session.timers._deadlines]
        held += [incoming._unanswered, incoming._answered]
        assert not any(held)
    else:
        assert incoming.open == len(incoming._unanswered) + len(incoming._answered)


def check_rest(connection: Connection) -> None:
    """Nothing happens any more by itself: all is sent, acknowledged and sealed, and who waits, waits for a peer."""
    session = connection._session
    calls, sender = session._asking.calls, session._sender
    assert not len(session._inbox)
    assert not len(sender._outbox), "what was delivered is acknowledged"
    assert not sender._answers.count
    assert not len(sender.streams), "items wait, and there is room"
    assert not sender._serializer.unsealed
    assert not calls._queue.first() or not _has_slot(session), "a request waits, and there is a slot"
    assert not calls._blocked or not _has_room(session), "somebody waits for room, and there is room"


def _outgoing(session: Session) -> list[Any]:
    calls = session._asking.calls
    return [*calls._queue, *calls._open.values()]


def _has_slot(session: Session) -> bool:
    calls, limits = session._asking.calls, session._limits
    first = calls._queue.first()
    assert first is not None
    share = 0 if first.urgent else 1
    slots = limits.requests_open - share * (limits.requests_open // 8)
    most = limits.request_bytes_open - share * min(limits.request_bytes_open // 8, 64 * 1024)
    return len(calls._open) < slots and not (calls._open and calls._bytes_open + first.size > most)


def _has_room(session: Session) -> bool:
    calls, limits = session._asking.calls, session._limits
    queued, room = calls._queued_bytes, limits.request_bytes_queued
    half = calls.queued * 2 <= limits.requests_queued and queued * 2 <= room
    return not calls.queued or (half and queued + calls._blocked <= room)
