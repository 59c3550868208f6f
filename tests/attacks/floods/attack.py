"""What an attack on resources is, and how it is run.

An attack is a function that drives hostile peers against connections. Everything that it may cost is said beside it,
computed from :class:`~ratatoskr.limits.Limits`: the rule by which the victim ends it, the most bytes that the victim
may hold, and what else must hold. It is run once for each thing that is measured, on new connections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from ratatoskr import v1
from ratatoskr.connection import State
from ratatoskr.events import Event, RequestId, RequestReceived
from ratatoskr.limits import Limits
from ratatoskr.messages import Kind
from ratatoskr.testing import Clock
from tests.attacks.hostile import CLIENT, SIDES, HostilePeer, make_config, make_connection
from tests.attacks.meter import Meter, MeteredVictim
from tests.unit.messages.support import KINDS, custom

BULK = Kind(1000, 6, "BULK", v1.ConnectionRequest, v1.ConnectionRequest, sealed=False)
"""A kind whose payload has no rules: messages repeat without end as field 1, packed numbers as field 2."""
BULK_FEED = Kind(1000, 7, "BULK_FEED", v1.ConnectionRequest, v1.ConnectionRequest, sealed=False, stream=True)
"""A stream of such payloads."""
SHORT = {"record_bytes": 4096, "envelope_bytes": 3072}
"""Limits of records that are as short as they may be, so that what is held beside them is seen."""

Flood: TypeAlias = "Callable[[Scene], None]"


@dataclass(frozen=True, kw_only=True, eq=False)
class Attack:
    """An attack and what it may cost."""

    name: str
    flood: Flood
    ends: str | None
    """The rule by which the victim ends it; None where it goes on for as long as the attacker likes."""
    holds: str
    """The most bytes that the victim may hold: a formula of limits, and of what ``judging.CONSTANTS`` names."""
    limits: Callable[[int], Limits]
    """The limits at a scale."""
    sides: tuple[str, ...] = SIDES
    """Who may be the victim."""
    opens: bool = True
    """Whether it begins on an open connection; otherwise it makes its own."""


ATTACKS: list[Attack] = []
"""All of them, in the order of their definition."""


def attack(name: str, **facts: Any) -> Callable[[Flood], Attack]:
    """Make a flood an attack."""

    def make(flood: Flood) -> Attack:
        made = Attack(name=name, flood=flood, **facts)
        ATTACKS.append(made)
        return made

    return make


class Claim(NamedTuple):
    """Something that may not exceed a limit."""

    what: str
    value: float
    most: float


class Scene:
    """One run of an attack: attackers, victims, and what was noticed."""

    def __init__(self, attack: Attack, side: str, scale: int, meter: Meter) -> None:
        self.scale = scale
        self.limits = attack.limits(scale)
        self.victims: list[MeteredVictim] = []
        self.claims: list[Claim] = []
        self.missing: list[str] = []
        """What should have been so."""
        self.signatures = 0
        """How many the victims may make, beside one for each flight."""
        self.verifications = 0
        """How many they may verify, beside one for each flight."""
        self.handlers: dict[RequestId, None] = {}
        """What the victim's application works on. Nothing of it ends by itself."""
        self.handlers_most = 0
        """The most of them at once."""
        self.on_event: Callable[[Event], None] | None = None
        """What else the application does."""
        self.flights = 0
        """Flights that the attacker has sent."""
        self.heard: Counter[str] = Counter()
        """What it has heard: messages, their bytes, and controls by name."""
        self._side = side
        self._meter = meter
        self._config = make_config(side, limits=self.limits, kinds=KINDS | [BULK, BULK_FEED])
        if attack.opens:
            self.peer = self.connect().open()
            (self.victim,) = self.victims
            self.connection = self.victim.connection
            self.signatures = 1  # of its last word

    def connect(self, **changes: Any) -> HostilePeer:
        """A new victim, and a peer for it; ``changes`` are those of the peer."""
        side = self._side
        with self._meter:
            victim = MeteredVictim(
                make_connection(side, self._config),
                Clock(),
                is_client=side == CLIENT,
                meter=self._meter,
                application=self._told,
            )
            self.victims.append(victim)
        return HostilePeer(victim, limits=self.limits, **changes)

    def _told(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self.handlers[event.id] = None
            self.handlers_most = max(self.handlers_most, len(self.handlers))
        if self.on_event is not None:
            self.on_event(event)

    @property
    def over(self) -> bool:
        """Whether the victim has ended it."""
        return self.connection.state in (State.CLOSING, State.CLOSED)

    def rounds(self, most: int) -> Iterator[int]:
        """So many rounds, unless the victim ends it before."""
        for at in range(most):
            if self.over:
                return
            yield at

    def say(self, *envelopes: bytes, sealed: bool = False, **fields: Any) -> None:
        """The next flight. It acknowledges what was heard, unless it is told otherwise."""
        self.victim.feed(self.record(*envelopes, sealed=sealed, **fields))

    def record(self, *envelopes: bytes, sealed: bool = False, **fields: Any) -> bytes:
        """The next flight, as a record."""
        self.hear()
        self.flights += 1
        flight = self.peer.flight(*envelopes, sealed=sealed, **({"ack": self.peer.questions.number} | fields))
        return self.peer.record(flight.SerializeToString())

    def hear(self) -> None:
        """Read what the victim has sent."""
        for flight in self.peer.hear():
            self.heard["message"] += len(flight.envelopes)
            self.heard["byte"] += sum(map(len, flight.envelopes))
            self.heard.update(control.WhichOneof("control") or "" for control in flight.controls)

    def ask(self, kind: Any, message: Any, **options: Any) -> RequestId:
        """The victim asks, and the attacker hears it."""
        id = self.connection.request(kind, message, **options)
        self.victim.drain()
        self.hear()
        return id

    def place(self) -> dict[str, Any]:
        """The fields of an answer that name what the victim asked last."""
        number = self.peer.questions.number
        return {"request_number": number, "request_leaf": self.peer.leaves[number]}

    def claim(self, what: str, value: float, most: float) -> None:
        """What may not exceed a limit, beside the bytes."""
        self.claims.append(Claim(what, value, most))

    def require(self, holds: bool, what: str) -> None:
        """What must be so, for the attack to be one."""
        if not holds:
            self.missing.append(what)


def header(type: int, length: int) -> bytes:
    """The first four bytes of a record."""
    return (type << 24 | length).to_bytes(4, "big")


def bulk(payload: bytes, operation: int = 6) -> v1.RatatoskrRequest:
    """A request of BULK."""
    return custom(operation, payload)
