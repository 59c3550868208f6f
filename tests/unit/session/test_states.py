"""Every cell of both tables of a call, and every one that is not there: what each input does in a real session."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratatoskr import v1
from ratatoskr.errors import Fault, LocalProtocolError, ProtocolFault
from ratatoskr.events import RequestCancelled, RequestExpired, RequestReceived
from ratatoskr.limits import Limits
from ratatoskr.messages import Direction
from ratatoskr.session.incoming import IncomingCall
from ratatoskr.session.outgoing import OutgoingCall
from ratatoskr.session.states import ANSWERING, ASKING, Answering, AnsweringInput, Asking, AskingInput
from tests.unit.messages.support import FEED, custom, end, envelope, item
from tests.unit.session.support import Hostile, note

LONG = 3600.0
TIME = 5.0
ASKED = envelope(custom(3, b""))


class Asked:
    """A request of ours for a stream, in one of its states, and the hostile peer that it went to."""

    def __init__(self, state: Asking) -> None:
        self.peer = Hostile(Direction.FROM_CLIENT, Limits(span_timeout=LONG))
        self.side = self.peer.side
        id = self.side.request(FEED, note(), timeout=TIME)
        assert isinstance(id, OutgoingCall)
        self.call = id
        self.side.session.start(self.peer.now)
        if state is not Asking.QUEUED:
            self.peer.output()
        match state:
            case Asking.CANCELLED:
                self.side.session.cancel(id)
            case Asking.GIVEN_UP:
                self.give_up()
            case Asking.DONE:
                self.answer()
        self.side.collect()
        assert id.state is state

    def number(self) -> None:
        self.peer.output()

    def item(self) -> None:
        self._answered(item(self.call.items))

    def answer(self) -> None:
        self._answered(end(self.call.items))

    def _answered(self, answer: v1.RatatoskrResponse) -> None:
        number = self.call.number
        answer.request_number = number
        answer.request_leaf = self.peer.leaf(number) if number else bytes(32)
        self.peer.send(envelope(answer), ack=number)

    def cancel(self) -> None:
        self.side.session.cancel(self.call)

    def give_up(self) -> None:
        self.peer.mono += TIME
        self.side.collect()
        while (timer := self.side.session.timers.due(self.peer.mono)) is not None:
            self.side.session.fire(timer, self.peer.now)

    def refuse(self) -> None:
        self.peer.send(controls=[v1.Control(go_away=v1.GoAway())], ack=self.side.session._sender.acked)

    def end(self) -> None:
        self.side.session.end(Fault.TRANSPORT_LOST)


ASKS: dict[AskingInput, Callable[[Asked], None]] = {
    AskingInput.NUMBER: Asked.number,
    AskingInput.ITEM: Asked.item,
    AskingInput.ANSWER: Asked.answer,
    AskingInput.CANCEL: Asked.cancel,
    AskingInput.GIVE_UP: Asked.give_up,
    AskingInput.REFUSE: Asked.refuse,
    AskingInput.END: Asked.end,
}


@pytest.mark.parametrize("state", Asking, ids=lambda each: each.name)
@pytest.mark.parametrize("input", AskingInput, ids=lambda each: each.name)
def test_requests_of_ours_move_by_the_table_and_have_one_outcome(state: Asking, input: AskingInput) -> None:
    """Without a cell, an answer is a fault of the peer's; anything else is nothing."""
    asked = Asked(state)
    before = len(asked.side.outcomes(asked.call))
    assert before == (state in {Asking.GIVEN_UP, Asking.DONE})
    after = ASKING.get((state, input))
    if after is None and input in {AskingInput.ITEM, AskingInput.ANSWER}:
        with pytest.raises(ProtocolFault) as caught:
            ASKS[input](asked)
        assert caught.value.fault is Fault.ANSWER_INVALID
    else:
        ASKS[input](asked)
    asked.side.collect()
    assert asked.call.state is (after or state)
    decided = asked.call.state in {Asking.GIVEN_UP, Asking.DONE}
    assert len(asked.side.outcomes(asked.call)) == decided


@pytest.mark.parametrize("state", Asking, ids=lambda each: each.name)
def test_slots_of_our_requests_are_taken_by_their_state(state: Asking) -> None:
    asked = Asked(state)
    calls = asked.side.session._asking.calls
    assert list(calls._open.values()) == (
        [asked.call] if state in {Asking.OPEN, Asking.CANCELLED, Asking.GIVEN_UP} else []
    )
    assert calls.queued == (state is Asking.QUEUED)


class Answered:
    """A request of the peer's for a stream, in one of its states. ``closed``: its application has answered it."""

    def __init__(self, state: Answering, *, closed: bool = False, ended: bool = False) -> None:
        self.peer = Hostile(Direction.FROM_SERVER, Limits(span_timeout=LONG))
        self.side = self.peer.side
        self.peer.send(ASKED, hops=[v1.Hop(index=0, timeout_ms=round(TIME * 1000))])
        id = self.side.take(RequestReceived).id
        assert isinstance(id, IncomingCall)
        self.call = id
        if state is Answering.CANCELLED:
            self.cancel()
        elif state in {Answering.ANSWERED, Answering.DONE}:
            if closed:
                self.answer()
            if state is Answering.DONE:
                if ended:
                    self.end()
                else:
                    self.ack()
        self.side.collect()
        self.side.events.clear()
        assert (id.state, id.closed) == (state, closed)

    def item(self) -> None:
        self.side.session.respond(self.call, note(), last=False)

    def answer(self) -> None:
        self.side.session.respond(self.call)

    def cancel(self) -> None:
        self.peer.send(seal=False, controls=[v1.Control(cancel=v1.Cancel(request_number=1))], ack=self.acked)

    def expire(self) -> None:
        self.peer.mono += TIME
        self.side.collect()
        while (timer := self.side.session.timers.due(self.peer.mono)) is not None:
            self.side.session.fire(timer, self.peer.now)

    def ack(self) -> None:
        self.peer.output()
        self.peer.send(seal=False, ack=1)

    def end(self) -> None:
        self.side.session.end(Fault.TRANSPORT_LOST)

    @property
    def acked(self) -> int:
        return self.side.session._sender.acked


ANSWERS: dict[AnsweringInput, Callable[[Answered], None]] = {
    AnsweringInput.ITEM: Answered.item,
    AnsweringInput.ANSWER: Answered.answer,
    AnsweringInput.CANCEL: Answered.cancel,
    AnsweringInput.EXPIRE: Answered.expire,
    AnsweringInput.ACK: Answered.ack,
    AnsweringInput.END: Answered.end,
}
SITUATIONS = [
    (Answering.RUNNING, False, False),
    (Answering.CANCELLED, False, False),
    (Answering.ANSWERED, True, False),
    (Answering.DONE, True, False),
    (Answering.DONE, False, True),
    (Answering.DONE, True, True),
]
"""State, whether the application has answered, whether the session has ended."""
TOLD = {
    (Answering.RUNNING, AnsweringInput.CANCEL): [RequestCancelled],
    (Answering.RUNNING, AnsweringInput.EXPIRE): [RequestExpired],
}
"""Where the application is told of a move."""


@pytest.mark.parametrize(("state", "closed", "ended"), SITUATIONS)
@pytest.mark.parametrize("input", AnsweringInput, ids=lambda each: each.name)
def test_requests_of_the_peer_move_by_the_table(
    state: Answering, closed: bool, ended: bool, input: AnsweringInput
) -> None:
    """Without a cell, an ack names what was never sent; anything else is nothing. Answering twice is misuse."""
    answered = Answered(state, closed=closed, ended=ended)
    after = ANSWERING.get((state, input), state)
    if closed and input in {AnsweringInput.ITEM, AnsweringInput.ANSWER}:
        with pytest.raises(LocalProtocolError, match="is answered already"):
            ANSWERS[input](answered)
    elif input is AnsweringInput.ACK and (state in {Answering.RUNNING, Answering.CANCELLED} or ended):
        with pytest.raises(ProtocolFault) as caught:
            ANSWERS[input](answered)
        assert caught.value.fault is Fault.ACK_INVALID
    else:
        ANSWERS[input](answered)
    answered.side.collect()
    assert answered.call.state is after
    assert [type(each) for each in answered.side.events] == TOLD.get((state, input), [])


@pytest.mark.parametrize(("state", "closed", "ended"), SITUATIONS)
def test_one_terminal_answer_is_sent_whatever_the_application_says(state: Answering, closed: bool, ended: bool) -> None:
    answered = Answered(state, closed=closed, ended=ended)
    if not closed:
        answered.item()
        answered.answer()
    answered.peer.output()
    sent = [each for flight in answered.side.flights for each in flight.envelopes]
    last = [v1.RatatoskrResponse.FromString(each[1:]).last for each in sent]
    assert last.count(True) == (0 if ended else 1)
    assert last.count(False) == (state is Answering.RUNNING), "items of calls that are over are dropped"


@pytest.mark.parametrize(("state", "closed", "ended"), SITUATIONS)
def test_slots_of_the_peer_are_taken_until_the_acknowledgement(state: Answering, closed: bool, ended: bool) -> None:
    answered = Answered(state, closed=closed, ended=ended)
    calls = answered.side.session._answering.calls
    assert (calls.unanswered(1) is not None) == (state in {Answering.RUNNING, Answering.CANCELLED})
    if not ended:
        assert calls.open == (state is not Answering.DONE)


# The tables themselves


def test_every_state_is_reached_and_left() -> None:
    assert {before for before, _ in ASKING} == set(Asking)
    assert set(ASKING.values()) == set(Asking) - {Asking.QUEUED}
    assert {before for before, _ in ANSWERING} == set(Answering)
    assert set(ANSWERING.values()) == set(Answering)


def test_every_input_has_a_cell_and_every_call_an_end() -> None:
    assert {moved_by for _, moved_by in ASKING} == set(AskingInput)
    assert {moved_by for _, moved_by in ANSWERING} == set(AnsweringInput)
    assert all(ASKING[state, AskingInput.END] is Asking.DONE for state in set(Asking) - {Asking.DONE})
    assert all(ANSWERING[state, AnsweringInput.END] is Answering.DONE for state in set(Answering) - {Answering.DONE})


@pytest.mark.parametrize("table", [ASKING, ANSWERING], ids=["asking", "answering"])
def test_nothing_goes_back(table: dict[tuple[Asking | Answering, object], Asking | Answering]) -> None:
    """The members stand in the order in which a call passes them, and a call may leave some out."""
    for (before, _), after in table.items():
        order = list(type(before))
        assert order.index(after) >= order.index(before)
