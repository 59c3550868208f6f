"""What may happen to two ends and two applications in any order: the rules that all machines of interleavings share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from ratatoskr.messages import AnyKind
from ratatoskr.messages.standard import PAYMENT_AUTHORIZE
from ratatoskr.testing.clock import Clock
from tests.scenarios.core.driving import flow, rest, run
from tests.scenarios.core.ledger import SPOKEN, Call
from tests.scenarios.core.parties import Party
from tests.scenarios.core.variety import CALLS, STRANGER

SIDES = st.sampled_from(["client", "server"])
AT = st.integers(0, 30)
SIZES = st.sampled_from([1, 3, 4, 5, 20, 100, 1000])
NAMES = st.sampled_from(list(SPOKEN))
PADDING = st.sampled_from([0, 0, 0, 200, 2500, 3500])
TIMEOUTS = st.sampled_from([20.0, 5.0, 0.5, 0.05])


class Ends(RuleBasedStateMachine):
    """Both ends, and both applications."""

    clock: Clock
    habit: str
    """What follows when an application has done something: ``settle``, ``poll``, or ``wait``."""
    parties: dict[str, Party]
    both: tuple[Party, Party]

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.count = 0

    def words(self, kind: AnyKind, padding: int = 0) -> str:
        """What nobody has said before, with so many letters more where the kind takes any text."""
        self.count += 1
        return f"w{self.count}" + "x" * (0 if kind == PAYMENT_AUTHORIZE else padding)

    def after(self, party: Party) -> None:
        """What follows when an application has done something, by the habit of this run."""
        if self.habit == "settle":
            flow(*self.both)
        elif self.habit == "poll":
            party.polls()

    def party(self, side: str, able: Callable[[Party], object]) -> Party:
        """That side, or the other one where only that one is able."""
        party = self.parties[side]
        return party if able(party) else party.peer

    # Applications

    @rule(side=SIDES, name=NAMES, options=st.sampled_from(CALLS), times=st.integers(1, 4))
    def ask(self, side: str, name: str, options: dict[str, Any], times: int) -> None:
        kind, party = SPOKEN[name], self.parties[side]
        ahead = party.speaker._session._limits.stream_credit_ahead
        options = {"timeout": 20.0, **options, "credit": min(ahead, options.get("credit", 3))}
        padding = options.pop("padding", 0)
        expires_in = options.pop("expires_in", None)
        if expires_in is not None:
            options["expires_at"] = self.clock.now.wall + expires_in
        for _ in range(times):
            party.ask(kind, self.words(kind, padding), **options)
        self.after(party)

    @rule(side=SIDES, name=st.sampled_from(["FEED", "TICKER"]), options=st.sampled_from(CALLS))
    def subscribe(self, side: str, name: str, options: dict[str, Any]) -> None:
        self.ask(side, name, options, 2)

    @precondition(lambda self: any(party.asked for party in self.both))
    @rule(side=SIDES, at=AT, how=st.sampled_from(["answer", "end", "fail", "later"]), padding=PADDING)
    def answer(self, side: str, at: int, how: str, padding: int) -> None:
        """One request, perhaps too late, perhaps twice."""
        party = self.party(side, lambda party: party.asked)
        call = party.asked[at % len(party.asked)]
        party.say(call, how, self.words(call.kind, padding))
        self.after(party)

    @precondition(lambda self: any(party.owed for party in self.both))
    @rule(side=SIDES, how=st.sampled_from(["answer", "fail", "items", "items"]), padding=PADDING)
    def serve(self, side: str, how: str, padding: int) -> None:
        """All requests that are owed an answer; of streams a few items, or the end."""
        party = self.party(side, lambda party: party.owed)
        for call in party.owed:
            if how != "items":
                party.say(call, how, self.words(call.kind, padding))
            elif call.kind.stream:
                for _ in range(4):
                    party.say(call, "item", self.words(call.kind, padding))
        self.after(party)

    @precondition(lambda self: any(party.owed for party in self.both))
    @rule(side=SIDES, at=AT, times=st.integers(1, 4), padding=PADDING)
    def item(self, side: str, at: int, times: int, padding: int) -> None:
        party = self.party(side, lambda party: party.owed)
        owed = [call for call in party.owed if call.kind.stream] or party.owed
        call = owed[at % len(owed)]
        for _ in range(times):
            party.say(call, "item", self.words(call.kind, padding))
        self.after(party)

    @precondition(lambda self: any(party.own for party in self.both))
    @rule(side=SIDES, at=AT)
    def cancel(self, side: str, at: int) -> None:
        party = self.party(side, lambda party: party.own)
        party.cancel(party.own[-1 - at % len(party.own)])
        self.after(party)

    @precondition(lambda self: any(party.reads for party in self.both))
    @rule(side=SIDES, at=AT, items=st.sampled_from([1, 1, 2, 4, 1000]), times=st.sampled_from([1, 12]))
    def grant(self, side: str, at: int, items: int, times: int) -> None:
        """Once, or step by step, each said at once."""
        party = self.party(side, lambda party: party.reads)
        call = party.reads[at % len(party.reads)]
        for _ in range(times):
            party.grant(call, items)
            self.after(party)

    @precondition(lambda self: any(call.outcome for call in self.calls))
    @rule(side=SIDES, at=AT, timeout=TIMEOUTS)
    def retry(self, side: str, at: int, timeout: float) -> None:
        party = self.parties[side]
        old = [*party.own, STRANGER]
        party.retry(old[-1 - at % len(old)], timeout)
        self.after(party)

    @precondition(lambda self: len(self.calls) > 5)
    @rule(side=SIDES, drain=st.sampled_from([True, True, True, False]))
    def close(self, side: str, drain: bool) -> None:
        self.parties[side].close(drain=drain)
        self.after(self.parties[side])

    # Drivers

    @rule(side=SIDES, most=st.sampled_from([1, 2, 3, 1000]))
    def poll(self, side: str, most: int) -> None:
        self.parties[side].polls(most)

    @precondition(lambda self: any(party.wire.moves for party in self.both))
    @rule(side=SIDES, size=SIZES, times=st.sampled_from([1, 30]))
    def deliver(self, side: str, size: int, times: int) -> None:
        """A chunk, or many, with a few polls between them."""
        party = self.party(side, lambda party: party.peer.wire.moves)
        while party.deliver(size) and times > 1:
            times -= 1
            party.polls(2)

    @precondition(lambda self: any(party.wire.moves or party.loan for party in self.both))
    @rule(side=SIDES)
    def go_on(self, side: str) -> None:
        """All that was written comes to one end, and it is driven to its Wait."""
        party = self.party(side, lambda party: party.peer.wire.moves or party.peer.loan)
        party.peer.write()
        while party.deliver():
            party.polls()

    @precondition(lambda self: not all(party.blocks for party in self.both))
    @rule(side=SIDES)
    def block(self, side: str) -> None:
        """Writes take time from now on."""
        self.parties[side].blocks = True

    @precondition(lambda self: any(party.loan for party in self.both))
    @rule(side=SIDES, size=st.sampled_from([1, 5, 100, None]))
    def write(self, side: str, size: int | None) -> None:
        """A write goes on or ends."""
        self.party(side, lambda party: party.loan).write(size)

    @precondition(lambda self: self.habit != "settle" or any(party.wire.moves or party.loan for party in self.both))
    @rule()
    def settle(self) -> None:
        flow(*self.both)

    @rule(seconds=st.sampled_from([0.001, 0.019, 0.021, 0.1, 0.26, 1.0, 4.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([0.05, 0.05, 0.3, 1.0, 6.0, 25.0]))
    def pass_time(self, seconds: float) -> None:
        run(*self.both, seconds)
        if seconds >= 1.0:
            self.rest()

    @precondition(lambda self: any(party.loan for party in self.both))
    @rule(seconds=st.sampled_from([0.05, 6.0, 40.0]))
    def pass_blocked(self, seconds: float) -> None:
        """As :meth:`pass_time`, and no write ends."""
        run(*self.both, seconds, writes=False)

    def rest(self) -> None:
        rest(*self.both)
        if self.well and all(party.live for party in self.both):
            for party in self.both:
                party.check_rest()

    @property
    def well(self) -> bool:
        """Whether all that is written arrives as it is."""
        return not any(party.changed or party.wire.lost for party in self.both)
