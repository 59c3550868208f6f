"""The gate and the meter, without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest
from websockets.asyncio.connection import Connection as WebSocket
from websockets.frames import Frame, Opcode

from ratatoskr import Limits
from ratatoskr_websockets.guard import Gate, Meter


@dataclass(eq=False)
class Caller:
    """As much of a WebSocket as the gate sees."""

    remote_address: object = ("192.0.2.1", 1)


def caller(address: object = ("192.0.2.1", 1)) -> WebSocket:
    return cast("WebSocket", Caller(address))


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_gate_counts_to_its_limit(limit: int) -> None:
    gate = Gate(limit, 100)
    callers = [caller(("192.0.2.1", n)) for n in range(limit)]
    assert [gate.enter(each) for each in callers] == [True] * limit
    assert not gate.enter(caller())
    gate.leave(callers[0])
    assert gate.enter(caller())


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_gate_counts_each_address(limit: int) -> None:
    gate = Gate(100, limit)
    callers = [caller(("192.0.2.1", n)) for n in range(limit)]
    assert [gate.enter(each) for each in callers] == [True] * limit
    assert not gate.enter(caller(("192.0.2.1", limit)))
    assert gate.enter(caller(("192.0.2.2", 1)))
    gate.leave(callers[0])
    assert gate.enter(caller(("192.0.2.1", limit)))


def test_who_was_turned_away_or_has_left_is_not_counted_twice() -> None:
    gate = Gate(100, 1)
    first, second = caller(), caller()
    assert gate.enter(first)
    assert not gate.enter(second)
    gate.leave(second)
    assert not gate.enter(second)
    gate.leave(first)
    gate.leave(first)
    assert gate.enter(second)
    assert not gate.enter(first)


def test_a_closed_gate_lets_nobody_in() -> None:
    gate = Gate(100, 100)
    gate.close()
    assert not gate.enter(caller())


def test_a_socket_without_an_address_has_one_count() -> None:
    gate = Gate(100, 1)
    assert gate.enter(caller(None))
    assert not gate.enter(caller(None))


@pytest.mark.parametrize(
    ("frame", "charged"),
    [
        (Frame(Opcode.PING, b"x"), True),
        (Frame(Opcode.PONG, b""), True),
        (Frame(Opcode.BINARY, b""), True),
        (Frame(Opcode.CONT, b""), True),
        (Frame(Opcode.BINARY, b"x"), False),
        (Frame(Opcode.CONT, b"x"), False),
        (Frame(Opcode.TEXT, b"x"), False),
    ],
)
def test_what_brings_nothing_is_charged(frame: Frame, charged: bool) -> None:
    meter = Meter(Limits(control_rate=1.0, control_burst=3))
    assert [meter.allows(frame, 0.0) for _ in range(4)] == [True, True, True, not charged]


def test_the_bucket_fills_again_and_never_overflows() -> None:
    ping = Frame(Opcode.PING, b"")
    meter = Meter(Limits(control_rate=2.0, control_burst=2))
    assert [meter.allows(ping, 1000.0) for _ in range(3)] == [True, True, False]
    assert meter.allows(ping, 1001.0)
    assert [meter.allows(ping, 5000.0) for _ in range(3)] == [True, True, False]
