"""Parties: two applications at work, each on an end that is driven by hand, and what they may rely on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ratatoskr.connection import Connection, State
from ratatoskr.errors import Failure, Fault, FaultClass, LocalProtocolError, WouldBlock
from ratatoskr.events import (
    Closed,
    ConnectionRequested,
    Event,
    GoingAway,
    ItemReceived,
    Opened,
    RequestCancelled,
    RequestExpired,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    SpanSealed,
    StreamEnded,
    Writable,
)
from ratatoskr.messages import AnyKind, Evidence
from ratatoskr.session.states import Answering, Asking
from ratatoskr.testing.clock import Clock
from tests.scenarios.core.bounds import check_rest, digest
from tests.scenarios.core.driving import Driver
from tests.scenarios.core.ledger import DECLINED, LATER, LONG, Call, answer, question

CHANGED_BYTES = frozenset(
    {Fault.RECORD_MALFORMED, Fault.RECORD_TOO_LONG, Fault.RECORD_FORGED, Fault.REFUSED, Fault.KEY_EXHAUSTED}
)
"""Ends that only a change of bytes brings about."""


ITEMS = 5
"""What a stream has by itself, beside the one in its end."""


class Party(Driver):
    """One end and its application."""

    peer: Party

    def __init__(self, name: str, connection: Connection, clock: Clock, calls: list[Call], closers: set[str]) -> None:
        super().__init__(name, connection, clock)
        self.calls = calls
        """The ledger, of both ends."""
        self.closers = closers
        """Ends that take no more requests, as far as anyone was told."""
        self.own: list[Call] = []
        """Calls that this application made."""
        self.asked: list[Call] = []
        """Calls that it was asked."""
        self.accepts = True
        """Whether it lets the client in at once."""
        self.manner = "waits"
        """What it does by itself: it ``waits``, or ``answers`` at once, or ``streams`` items while there is room."""
        self.consumes = False
        """Whether it grants an item for each that came."""
        self.changed = False
        """Whether somebody changes bytes on the line."""
        self.abandoned = False
        self.requested = False
        self.opened = False
        self.waits: dict[RequestId | None, int] = {}
        """Who was told ``WouldBlock`` and waits for ``Writable``; how many of them are on their way from before."""
        self.evidence: list[Evidence] = []
        """Of what came before its seal."""

    @property
    def live(self) -> bool:
        """Whether calls can be made and answered."""
        return self.connection.state in (State.OPEN, State.DRAINING)

    @property
    def speaker(self) -> Connection:
        """Whose methods it calls, where it names no call."""
        return self.connection

    def voice(self, id: RequestId) -> Connection:
        """Whose methods it calls about a call of its own, or one that it is asked."""
        return self.connection

    @property
    def over(self) -> bool:
        """Whether it may make no more requests."""
        return self.closed is not None

    @property
    def owed(self) -> list[Call]:
        """Calls that it has yet to end."""
        return [call for call in self.asked if call.owed]

    @property
    def reads(self) -> list[Call]:
        """Streams of its own that go on."""
        return [call for call in self.own if call.kind.stream and not call.outcome]

    # What it is told

    def on_poll(self) -> None:
        for call in self.watched(self.own):
            if call.started is None:
                call.started = self.clock.now.mono

    def on_wait(self) -> None:
        now = self.clock.now.mono
        for call in self.watched(self.own):
            assert call.started is not None
            assert call.outcome or call.started + call.timeout > now, f"{call} is late and has no outcome"
        if self.live:
            for call in self.watched(self.asked):
                assert call.asked is not None
                assert not call.wanted or call.asked.deadline > now, f"{call} is late and its handler was not told"

    def on_event(self, event: Event) -> None:
        assert self.opened or isinstance(event, ConnectionRequested | Opened | RequestFailed | Writable | Closed)
        match event:
            case ConnectionRequested():
                assert not self.requested
                self.requested = True
                if self.accepts:
                    self.connection.accept()
            case Opened():
                assert not self.opened
                assert event.session_id == self.peer.connection.session_id or not self.peer.opened
                self.opened = True
            case RequestReceived():
                self._request(event)
            case ItemReceived():
                self._keep(event.evidence)
                call = self._find(event.id)
                call.take_item(event)
                if self.consumes:
                    self.grant(call, 1)
            case ResponseReceived() | StreamEnded() | RequestFailed():
                self._keep(event.evidence)
                self._find(event.id).take_outcome(event, self.clock.now, self.closers)
            case RequestExpired() | RequestCancelled():
                self._stop(event)
            case Writable():
                self._writable(event.id)
            case SpanSealed():
                assert event.messages > 0
                self.evidence = [each for each in self.evidence if not each.sealed]
            case GoingAway():
                assert self.peer.name in self.closers
                self.closers.add(self.name)
            case Closed():
                self._judge_end(event)
            case _:
                raise AssertionError(f"{self.name}: nothing brings {event}")

    def _request(self, event: RequestReceived) -> None:
        self._keep(event.evidence)
        call = self._asked_by(event)
        call.hear(event, self.clock.now, self.came or self.clock.now)
        self.asked.append(call)
        self._work(call)

    def _asked_by(self, event: RequestReceived) -> Call:
        """What the other end made of it."""
        (call,) = [call for call in self.peer.own if call.number == event.received.number]
        return call

    def _work(self, call: Call) -> None:
        """What its handler does by itself."""
        while self.manner == "streams" and call.kind.stream and len(call.said) < ITEMS and call.asked:
            self.say(call, "item", f"{call.words[:20]} item {len(call.said)}")
            if call.asked.id in self.waits or call.expired:
                return
        if self.manner != "waits" and call.ended is None:
            self.say(call, "answer", f"{call.words[:20]} answer")

    def _keep(self, evidence: Evidence | None) -> None:
        if evidence is not None and not evidence.sealed:
            self.evidence.append(evidence)

    def _stop(self, event: RequestExpired | RequestCancelled) -> None:
        """A handler is to stop: for a reason, and it is told once."""
        call = self._find_asked(event.id)
        assert call.asked is not None
        assert not call.expired
        assert not call.unwanted
        if isinstance(event, RequestExpired):
            call.expired = True
            assert call.asked.deadline <= self.clock.now.mono
        else:
            assert self.dropped(call)
            call.unwanted = True
        if self.manner != "waits" and call.ended is None:
            self.say(call, "fail", "")
        self.waits.pop(event.id, None)

    def dropped(self, call: Call) -> bool:
        """Whether a handler may be told that nobody waits for its answer."""
        return call.cancelled

    def _writable(self, id: RequestId | None) -> None:
        if id in self.waits:
            self.waits[id] -= 1
            if self.waits[id] < 0:
                del self.waits[id]
                if id is not None and self._find_asked(id).wanted:
                    self._work(self._find_asked(id))
        else:
            assert id is not None, "nobody waits"
            call = self._find_asked(id)
            assert not call.wanted, "nobody waits"

    def _would_block(self, id: RequestId | None) -> None:
        connection = self.speaker if id is None else self.voice(id)
        events = [event for _, event in connection._session._inbox._events]
        self.waits[id] = len([event for event in events if isinstance(event, Writable) and event.id is id])

    def _judge_end(self, closed: Closed) -> None:
        fault = closed.fault
        assert fault.cls is not FaultClass.SESSION, f"{self.name}: {closed}"
        told = closed.rule == "alert"  # the other end's Closed says why
        assert self.changed or told or fault not in CHANGED_BYTES, f"{self.name}: {closed}"
        assert self.abandoned or fault is not Fault.ABANDONED
        for call in self.own:
            assert call.outcome is not None, f"{call} has no outcome"
            if isinstance(call.outcome, RequestFailed) and call.outcome.failure.reason in Fault.__members__:
                assert call.outcome.failure.reason in (fault.name, "GOING_AWAY")
        if closed.clean:
            assert all(each.sealed for each in self.evidence), "a clean end leaves nothing unsealed"
            assert not self.owed, "a clean end leaves nothing unanswered"
            sent = self.peer.connection._session._sender._outbox.sent
            assert self.connection._session._inbox.delivered == sent, "a clean end leaves nothing undelivered"

    def check_rest(self) -> None:
        """Everything was delivered, a while ago."""
        check_rest(self.connection)
        own, owed = self.here(self.own), self.here(self.owed)
        assert self.connection._session._answering.calls.open == len(owed), f"{owed} are open"
        assert len(self.peer.connection._session._asking.calls._open) == len(owed), f"{owed} are open"
        assert None not in self.waits or self.connection._session._asking.calls.queued, "the queue is empty"
        for call in owed:
            waits = call.asked and call.asked.id in self.waits
            assert not waits or len(call.said) >= call.granted, f"{call}: there is room, and nobody was told"
        for call in own:
            dropped = call.cancelled or call.outcome
            assert dropped or call.items == call.said, f"{call}: items are on their way, and nothing moves"

    def watched(self, calls: list[Call]) -> list[Call]:
        """Those that are polled."""
        return calls

    def here(self, calls: list[Call]) -> list[Call]:
        """Those of the session that the connection is about."""
        return calls

    def _find(self, id: RequestId) -> Call:
        (call,) = [call for call in self.own if call.id is id]
        return call

    def _find_asked(self, id: RequestId) -> Call:
        (call,) = [call for call in self.asked if call.asked and call.asked.id is id]
        return call

    # What it does

    def misuse(self, method: Callable[[], object]) -> None:
        """What raises, and changes nothing."""
        with pytest.raises(LocalProtocolError) as caught:
            self._try(method)
        assert not isinstance(caught.value, WouldBlock)

    def changes_nothing(self, method: Callable[[], object]) -> None:
        """What is of no effect here, and no misuse."""
        before = digest(self.speaker)
        method()
        assert digest(self.speaker) == before

    def _try(self, method: Callable[[], Any]) -> Any:
        """What may raise, and changes nothing then."""
        before = digest(self.speaker)
        try:
            return method()
        except LocalProtocolError:
            assert digest(self.speaker) == before
            raise

    def ask(self, kind: AnyKind, words: str, *, timeout: float, credit: int = 1, **options: Any) -> None:
        """Make a request, where the queue has room."""
        if kind.stream:
            options["credit"] = credit
        if kind.once is True:
            options["key"] = words
        message = question(kind, words)
        id = self._make(
            lambda: self.speaker.request(kind, message, timeout=timeout, **options),
            excuse=len(words) > LONG or bool(options.get("metadata")),
        )
        if id is not None:
            expires_at, metadata = options.get("expires_at"), options.get("metadata", {})
            self._made(Call(self.name, id, kind, words, timeout, expires_at, metadata, credit if kind.stream else 0))

    def retry(self, old: Call, timeout: float) -> None:
        """Make a request again, where it has failed and the queue has room."""
        assert isinstance(old.id.state, Asking)  # type: ignore[attr-defined]
        answered = old.id.answered  # type: ignore[attr-defined]
        if answered or old.id.state not in (Asking.DONE, Asking.GIVEN_UP):  # type: ignore[attr-defined]
            self.misuse(lambda: self.speaker.retry(old.id, timeout=timeout))
            return
        id = self._make(lambda: self.speaker.retry(old.id, timeout=timeout), excuse=True)
        if id is not None:
            again = Call(self.name, id, old.kind, old.words, timeout, old.expires_at, old.metadata, old.credit)
            again.attempt = old.attempt + bool(old.number)
            self._made(again)

    def _make(self, make: Callable[[], RequestId], *, excuse: bool) -> RequestId | None:
        try:
            id: RequestId = self._try(make)
        except WouldBlock:
            assert self.speaker._session._asking.calls.queued
            self._would_block(None)
        except LocalProtocolError:
            assert excuse or self.over
        else:
            assert not self.over
            return id
        return None

    def _made(self, call: Call) -> None:
        self.own.append(call)
        self.calls.append(call)

    def cancel(self, call: Call) -> None:
        """Cancel a call of its own."""
        self.voice(call.id).cancel(call.id)
        call.cancelled = call.cancelled or call.outcome is None

    def grant(self, call: Call, items: int) -> None:
        """Grant items of a stream of its own, where they are not too many."""
        if not call.kind.stream:
            self.misuse(lambda: self.voice(call.id).grant(call.id, items))
            return
        if call.id.state not in (Asking.QUEUED, Asking.OPEN):  # type: ignore[attr-defined]
            self.changes_nothing(lambda: self.voice(call.id).grant(call.id, items))
            return
        connection = self.voice(call.id)
        ahead = connection._session._limits.stream_credit_ahead
        try:
            self._try(lambda: connection.grant(call.id, items))
        except LocalProtocolError:
            assert call.granted + items - call.charged > ahead
        else:
            assert call.granted + items - len(call.said) <= ahead
            call.granted += items

    def say(self, call: Call, how: str, words: str) -> None:
        """Answer a request, send an item of a stream, or end it; misuse where there is no such answer, or was one."""
        assert call.asked is not None
        id, connection, stream = call.asked.id, self.voice(call.asked.id), call.kind.stream
        said: dict[str, Failure | str] = {"fail": DECLINED, "later": LATER, "end": ""}
        ended = said.get(how, words)
        message = answer(call.kind, words)
        if isinstance(ended, Failure):
            failure = ended
            method = lambda: connection.fail(id, failure)  # noqa: E731
        elif how == "end":
            method = lambda: connection.respond(id)  # noqa: E731
        else:
            method = lambda: connection.respond(id, message, last=how != "item")  # noqa: E731
        if call.ended is not None or (how in ("item", "end") and not stream):
            self.misuse(method)
            return
        try:
            self._try(method)
        except WouldBlock:
            assert how == "item"
            assert not self.over
            assert not call.expired
            self._would_block(id)
        except LocalProtocolError:
            assert len(words) > LONG
        else:
            if stream and how in ("item", "answer"):
                call.said.append(words)
            if how != "item":
                call.ended = ended
                self.waits.pop(id, None)
            elif id.state is Answering.RUNNING:  # type: ignore[attr-defined]
                assert len(call.said) <= call.granted, "more items are taken than were granted"

    def close(self, *, drain: bool) -> None:
        """End the connection."""
        if drain and self.live:
            self.closers.add(self.name)
        else:
            self.abandoned = True
        self.connection.close(drain=drain)
