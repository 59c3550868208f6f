"""Turns: first come, first served, and no turn is lost."""

from __future__ import annotations

from ratatoskr.errors import CallRefused, LocalProtocolError
from ratatoskr.limits import Limits
from ratatoskr.service import Router
from ratatoskr.service.turns import Turns
from tests.unit.service.lines import PAY, Lines, Strand
from tests.unit.service.work import Work, started


class Line:
    """People who wait, and who was woken."""

    def __init__(self) -> None:
        self.lines = Lines(Router())
        self.turns = Turns(self.lines.host)
        self.woken: list[str] = []

    def wait(self, name: str, *, first: bool = False) -> Strand:
        async def wait() -> None:
            await self.turns.wait(first=first)
            self.woken.append(name)

        strand = self.lines.client.start(wait())
        self.lines.settle()
        return strand

    def next(self) -> None:
        self.turns.next()
        self.lines.settle()


def test_who_came_first_is_woken_first_and_alone() -> None:
    line = Line()
    for name in "abc":
        line.wait(name)
    line.wait("urgent", first=True)
    assert len(line.turns) == 4
    for count, name in enumerate(["urgent", "a", "b", "c"], 1):
        line.next()
        assert line.woken[-1] == name
        assert len(line.woken) == count
    line.next()


def test_who_gives_up_leaves_the_line() -> None:
    line = Line()
    line.wait("a").cancel()
    line.wait("b")
    line.lines.settle()
    assert len(line.turns) == 1
    line.next()
    assert line.woken == ["b"]


def test_the_turn_of_who_gives_up_when_woken_goes_to_the_next_one() -> None:
    line = Line()
    first = line.wait("a")
    line.wait("b")
    line.turns.next()
    first.cancel()
    line.lines.settle()
    assert line.woken == ["b"]


def test_at_the_end_all_are_woken() -> None:
    line = Line()
    for name in "abc":
        line.wait(name)
    line.turns.end()
    line.lines.settle()
    assert line.woken == ["a", "b", "c"]


# Calls that wait for a place in the queue

FEW = Limits(requests_open=1, requests_queued=1)


def full(work: Work) -> Lines:
    """A connection whose only slot and only place in the queue are taken."""
    lines = Lines(work.router, limits=FEW)
    started(lines, "slot")
    lines.settle()
    started(lines, "place")
    lines.settle()
    return lines


def served(work: Work, lines: Lines) -> list[str]:
    """Let every handler end; the order in which they began."""
    work.gate.open = True
    lines.run(5.0)
    return work.begun


def test_calls_get_places_in_the_order_in_which_they_came() -> None:
    work = Work()
    lines = full(work)
    started(lines, *"abcdefgh")
    assert served(work, lines) == ["slot", "place", *"abcdefgh"]
    assert lines.at_rest()


def test_a_call_that_comes_when_there_is_a_place_waits_behind_those_who_wait() -> None:
    work = Work()
    lines = full(work)
    started(lines, *"ab")
    lines.client.calls._asker.turns.next()  # woken, and not yet there
    started(lines, "c")
    assert served(work, lines) == ["slot", "place", *"abc"]


def test_a_payment_waits_behind_nobody() -> None:
    work = Work()
    lines = full(work)
    started(lines, *"ab")
    started(lines, "pay", kind=PAY)
    begun = served(work, lines)
    assert begun.index("pay") < begun.index("a")


def test_who_gives_up_when_it_is_woken_blocks_nobody() -> None:
    work = Work()
    lines = full(work)
    (first,) = started(lines, "a")
    started(lines, "b")
    lines.client.calls._asker.turns.next()
    first.cancel()
    assert served(work, lines) == ["slot", "place", "b"]
    assert lines.at_rest()


def test_who_is_woken_after_its_time_lets_the_next_one_go() -> None:
    work = Work()
    lines = full(work)
    (late,) = started(lines, "late", timeout=1.0)
    started(lines, "b")
    lines.host.clock.advance(2.0)
    assert served(work, lines) == ["slot", "place", "b"]
    assert isinstance(late.error, CallRefused)


def test_misuse_that_is_noticed_when_it_is_woken_lets_the_next_one_go() -> None:
    work = Work()
    lines = full(work)
    (wrong,) = started(lines, "wrong", metadata={"NOT A NAME": ""})
    started(lines, "b")
    assert served(work, lines) == ["slot", "place", "b"]
    assert isinstance(wrong.error, LocalProtocolError)
