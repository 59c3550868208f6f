"""A peer that authenticates and then keeps no rule: each fault has its name, nothing else is raised, nothing grows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.errors import Fault, ProtocolFault
from ratatoskr.events import RequestReceived, ResponseReceived
from ratatoskr.limits import Limits
from ratatoskr.messages import Direction
from tests.unit.messages.support import LEAF, authorized, custom, envelope, failure, found, payment, search
from tests.unit.session.support import FOUND, PAY, Both, Hostile, pay

SEARCHED, PAYMENT = envelope(search()), envelope(payment())
PING = v1.Control(ping=v1.Ping(token=1))
INVALID = (Fault.ANSWER_INVALID, "response.request")


def asking() -> Hostile:
    """A client that has asked twice, and a hostile server."""
    hostile = Hostile(Direction.FROM_CLIENT)
    hostile.side.request()
    hostile.side.request(PAY, pay())
    hostile.output()
    return hostile


# Answers


def test_the_right_answers_are_delivered() -> None:
    hostile = asking()
    hostile.send(
        envelope(found(request_number=2, request_leaf=hostile.leaf(2))),
        envelope(authorized(request_number=1, request_leaf=hostile.leaf(1))),
        ack=2,
    )
    assert len(hostile.side.take_all(ResponseReceived)) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"request_number": 0},
        {"request_number": 1},
        {"request_number": 3},
        {"request_number": (1 << 64) - 1},
        {"request_leaf": LEAF},
        {"request_leaf": bytes(32)},
        {"operation": 2},
        {"type": v1.MessageType.ValueType(1000), "operation": 2},
        {"type": v1.MessageType.ValueType(1000), "operation": 77},
        {"type": v1.MESSAGE_TYPE_CONNECTION_RESPONSE},
        {"type": v1.MESSAGE_TYPE_UNSPECIFIED, "operation": 0},
    ],
    ids=str,
)
def test_an_answer_to_no_request_or_to_other_bytes_ends_the_session(changes: dict[str, Any]) -> None:
    hostile = asking()
    right: dict[str, Any] = {"request_number": 2, "request_leaf": hostile.leaf(2)}
    assert hostile.refused(envelope(found(**(right | changes))), ack=2) == INVALID


def test_the_leaf_of_one_question_answers_no_other() -> None:
    hostile = asking()
    assert hostile.refused(envelope(found(request_number=2, request_leaf=hostile.leaf(1))), ack=2) == INVALID


def test_an_answer_before_any_question_ends_the_session() -> None:
    assert Hostile().refused(envelope(found())) == INVALID


@pytest.mark.parametrize("together", [True, False])
def test_a_second_answer_ends_the_session(together: bool) -> None:
    hostile = asking()
    answer = envelope(found(request_number=2, request_leaf=hostile.leaf(2)))
    if together:
        assert hostile.refused(answer, answer, ack=2) == INVALID
    else:
        hostile.send(answer, ack=2)
        assert hostile.refused(answer, ack=2) == INVALID


def test_a_second_answer_to_a_call_that_timed_out_ends_the_session() -> None:
    hostile = asking()
    hostile.mono += 31.0
    hostile.output()
    answer = envelope(found(request_number=2, request_leaf=hostile.leaf(2)))
    hostile.send(answer, ack=2)
    assert not hostile.side.take_all(ResponseReceived)
    assert hostile.refused(answer, ack=2) == INVALID


# Floods


@pytest.mark.parametrize(("count", "refused"), [(19, False), (20, False), (21, True)])
@pytest.mark.parametrize(
    "control", [PING, v1.Control(pong=v1.Pong(token=1)), v1.Control()], ids=["ping", "pong", "unknown"]
)
def test_controls_are_charged(count: int, refused: bool, control: v1.Control) -> None:
    hostile = Hostile(limits=Limits(control_burst=20, control_rate=10.0))
    for _ in range(count - 1):
        hostile.send(seal=False, controls=[control])
    if refused:
        assert hostile.refused(SEARCHED, controls=[control]) == (Fault.LIMIT_EXCEEDED, "controls.rate")
    else:
        hostile.send(SEARCHED, controls=[control])


@pytest.mark.parametrize(("count", "refused"), [(15, False), (16, False), (17, True)])
def test_controls_of_one_flight_are_charged_one_by_one(count: int, refused: bool) -> None:
    hostile = Hostile(limits=Limits(control_burst=16, controls=30))
    if refused:
        assert hostile.refused(PAYMENT, controls=[PING] * count) == (Fault.LIMIT_EXCEEDED, "controls.rate")
    else:
        hostile.send(PAYMENT, controls=[PING] * count)
        assert len(hostile.side.controls) == count


@pytest.mark.parametrize("seal", [True, False])
def test_flights_that_bring_nothing_are_charged(seal: bool) -> None:
    """A seal over nothing new costs us a verification: it brings nothing."""
    hostile = Hostile(limits=Limits(control_burst=20))
    hostile.send(SEARCHED)
    for _ in range(20):
        hostile.send(seal=seal)
    assert hostile.refused(seal=seal) == (Fault.LIMIT_EXCEEDED, "controls.rate")


def test_flights_that_bring_something_are_not_charged() -> None:
    hostile = Hostile(Direction.FROM_CLIENT, Limits(control_burst=1, control_rate=0.001))
    for _ in range(100):
        hostile.side.request()
    while hostile.output() is not None:
        pass
    for ack in range(1, 101):
        hostile.send(seal=False, ack=ack)
    for number in range(1, 51):
        hostile.send(envelope(found(request_number=number, request_leaf=hostile.leaf(number))), seal=False, ack=100)
    for _ in range(20):
        hostile.send(SEARCHED, seal=False, ack=100)
        hostile.send(ack=100)


def test_patience_is_regained() -> None:
    hostile = Hostile(limits=Limits(control_burst=2, control_rate=10.0))
    for _ in range(100):
        hostile.send(seal=False)
        hostile.mono += 0.11


def test_an_honest_peer_is_never_charged_out() -> None:
    """Business of both sides, searches and payments, each acknowledged alone: no flight brings nothing."""
    both = Both(Limits(control_burst=1, control_rate=0.001))
    for at in range(50):
        (both.client if at % 2 else both.server).request()
        both.run(0.05)
        asked = (both.server if at % 2 else both.client).take(RequestReceived)
        (both.server if at % 2 else both.client).session.respond(asked.id, FOUND)
        both.run(0.05 if at % 3 else 0.4)


# Anything


class Script:
    """What a hostile peer does, drawn by Hypothesis: flights that are mostly well-formed, and mostly wrong."""

    numbers = st.integers(0, 6) | st.just((1 << 64) - 1)
    requests = st.one_of(
        st.just(search()),
        st.just(payment()),
        st.builds(custom, st.integers(0, 3), st.binary(max_size=4)),
        st.builds(search, payload=st.binary(max_size=4), expires_at_ms=st.integers(0, (1 << 64) - 1)),
        st.builds(search, type=st.integers(-1, 15).map(v1.MessageType.ValueType)),
    )
    controls = st.one_of(
        st.just(PING),
        st.just(v1.Control()),
        st.just(v1.Control(go_away=v1.GoAway(reason="x"))),
        st.builds(v1.Control, disconnect=st.builds(v1.Disconnect, code=st.integers(0, 1))),
    )
    flights = st.fixed_dictionaries(
        {
            "requests": st.lists(requests, max_size=3),
            "answers": st.lists(st.tuples(numbers, st.booleans(), st.booleans()), max_size=2),
            "seal": st.booleans(),
            "ack": numbers,
            "controls": st.lists(controls, max_size=2),
            "hops": st.lists(
                st.builds(v1.Hop, index=st.integers(0, 4), timeout_ms=st.sampled_from([0, 1, 86_400_000])), max_size=2
            ),
        }
    )
    steps = st.lists(
        flights | st.sampled_from(["ask", "pay", "respond", "fail", "drain", "wait", "wait long", "output"]),
        max_size=20,
    )


@given(st.sampled_from(Direction), Script.steps)
def test_whatever_a_peer_says_only_a_fault_is_raised_and_calls_end_once(own: Direction, steps: list[Any]) -> None:
    hostile = Hostile(own, Limits(requests_open=3, span_messages=6, flight_messages=4))
    side, ids = hostile.side, []
    try:
        for step in steps:
            if isinstance(step, dict):
                hostile.send(*_envelopes(hostile, step), **{k: step[k] for k in ("seal", "ack", "controls", "hops")})
            elif step == "ask":
                ids.append(side.request())
            elif step == "pay":
                ids.append(side.request(PAY, pay(), timeout=2.0))
            elif step in {"respond", "fail"}:
                asked = [each for each in side.events if isinstance(each, RequestReceived)]
                for each in asked[:1]:
                    side.events.remove(each)
                    side.session.fail(each.id, failure())
            elif step == "drain":
                side.session.drain("")
            elif step == "output":
                hostile.output()
            else:
                hostile.mono += 0.3 if step == "wait" else 40.0
                hostile.output()
            assert len(side.session._asking.calls._open) <= 3
            assert side.session._answering.calls.open <= 3
    except ProtocolFault as fault:
        side.session.last_flight(hostile.now, fault.fault.code, fault.rule)
        side.session.end(fault.fault)
    else:
        side.session.end(Fault.TRANSPORT_LOST)
    side.collect()
    assert [len(side.outcomes(id)) for id in ids] == [1] * len(ids)


def _envelopes(hostile: Hostile, step: dict[str, Any]) -> list[bytes]:
    sent = sum(len(flight.envelopes) for flight in hostile.side.flights)
    answers = []
    for number, right_leaf, is_search in step["answers"]:
        leaf = hostile.leaf(number) if right_leaf and 1 <= number <= sent else LEAF
        make = found if is_search else authorized
        answers.append(make(request_number=number, request_leaf=leaf))
    return [envelope(each) for each in [*step["requests"], *answers]]
