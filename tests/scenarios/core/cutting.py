"""A story that two ends live through, and lines that are cut in it at any write: what was told must not depend on that.

The story: a payment during which the server calls the client back, a deferred search, a long message, a request that
fails, a sealed stream with more items than its first credit, a deferred one that is cancelled; then many at once, from
both ends; then both close. Limits are small, so all that is sent again takes several flights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ratatoskr.channel import XX_AESGCM
from ratatoskr.connection import Connection, State
from ratatoskr.errors import WouldBlock
from ratatoskr.events import (
    Closed,
    ConnectionRequested,
    Event,
    ItemReceived,
    Opened,
    RequestCancelled,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    SessionEnded,
    StreamEnded,
    Wait,
    Writable,
)
from ratatoskr.identity import VerifyKey
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind
from ratatoskr.messages.standard import PAYMENT_AUTHORIZE
from ratatoskr.session import Session
from ratatoskr.testing import End, Link, Pair
from tests.scenarios.core.ledger import ALL_KINDS, DECLINED, FEED, TICKER, answer, question, words_of
from tests.scenarios.core.support import AUTHORITY, DEVICE, GLANCE, NOTE, SERVER, proved

KEPT = 60.0
ITEMS = 7
LIMITS = Limits(record_bytes=8192, envelope_bytes=6000, span_messages=8, flight_messages=4)
PLACES: dict[str, Callable[[int], int]] = {
    "before": lambda size: 0,
    "behind its first byte": lambda size: 1,
    "in the middle": lambda size: size // 2,
    "before its last byte": lambda size: size - 1,
    "behind": lambda size: size,
}
"""Where a line is cut, beside a write: how many bytes of it come."""


@dataclass(frozen=True)
class Cut:
    """The line ends at one write of one end. ``noticed``: by both ends; otherwise by the client alone."""

    by: str
    at: int
    place: str
    noticed: bool

    def __str__(self) -> str:
        return f"{self.place} {self.by} {self.at}, {'noticed' if self.noticed else 'unnoticed'}"


class Line(Link):
    """One direction, which is cut at one of its writes."""

    def __init__(self, cut: Cut | None) -> None:
        super().__init__()
        self.cut_at = cut
        self.writes = 0
        self.other: Line

    def write(self, data: bytes, now: float) -> None:
        cut, at = self.cut_at, self.writes
        self.writes += 1
        if cut is None or cut.at != at:
            super().write(data, now)
            return
        super().write(data[: PLACES[cut.place](len(data))], now)
        if cut.noticed or cut.by == "server":
            self.end(now)
        if cut.noticed or cut.by == "client":
            self.other.cut()
        self.lost = self.other.lost = True


class Story:
    """Both ends, and all that they were told. ``cuts``: one for each line, the last one is whole."""

    def __init__(self, cuts: list[Cut]) -> None:
        self.cuts = [*cuts, None]
        same: dict[str, Any] = {
            "kinds": ALL_KINDS,
            "suites": (XX_AESGCM,),
            "limits": LIMITS,
            "session_timeout": KEPT,
        }
        self.pair = Pair(
            client=AUTHORITY.client_config(DEVICE, **same),
            server=AUTHORITY.server_config(identity=SERVER, **same),
            accept=False,
        )
        self.told: dict[str, tuple[Any, ...]] = {}
        """The outcome of each call, by its words."""
        self.asked: dict[str, list[int]] = {"client": [], "server": []}
        """The numbers of the requests that an end was asked, in order."""
        self.heard: list[str] = []
        """Their words."""
        self.writes: dict[str, int] = {}
        """Writes of each end over the first line."""
        self.opened: list[bool] = []
        """Of the client: whether each connection went on with the session."""
        self._calls: dict[RequestId, str] = {}
        self._items: dict[str, list[bytes]] = {}
        self._serving: dict[RequestId, tuple[Connection, RequestReceived]] = {}
        self._confirms: dict[str, RequestId] = {}
        self._cores: dict[str, Session] = {}
        self._connections: list[Connection] = []
        self._act = 0

    # The lines

    def live(self) -> Story:
        """From the first line to the end."""
        pair = self.pair
        self._draw(None)
        pair.run_until(lambda: pair.client.connection.state is pair.server.connection.state is State.OPEN)
        for end in (pair.client, pair.server):
            self._cores[end.name] = end.connection._session
        self._cut_lines(self.cuts.pop(0))
        self._go_on()
        while not self._over():
            self._draw(self.cuts.pop(0))
        pair.run(2 * KEPT)
        self._check_end()
        return self

    def _draw(self, cut: Cut | None) -> None:
        """The first line, or the next one."""
        pair = self.pair
        if self._connections:
            before = len(pair.replaced)
            pair.reconnect()
            for left in pair.replaced[before:]:
                self._watch(left)
        self._connections += [pair.client.connection, pair.server.connection]
        self._watch(pair.client)
        self._watch(pair.server)
        self._cut_lines(cut)

    def _cut_lines(self, cut: Cut | None) -> None:
        pair = self.pair
        lines = {name: Line(cut if cut is not None and cut.by == name else None) for name in ("client", "server")}
        lines["client"].other, lines["server"].other = lines["server"], lines["client"]
        pair.client.link, pair.server.link = lines["client"], lines["server"]

    def _watch(self, end: End) -> None:
        end.on_event = lambda event: self._take(end, event)

    def _over(self) -> bool:
        """Whether the client needs no other line."""
        client = self.pair.client
        self.pair.run_until(lambda: client.closed is not None, within=200.0)
        assert isinstance(client.link, Line)
        assert isinstance(self.pair.server.link, Line)
        self.writes = self.writes or {"client": client.link.writes, "server": self.pair.server.link.writes}
        assert client.closed is not None
        if client.closed.clean:
            return True
        assert client.closed.rule in ("transport.eof", "session.replaced"), client.closed
        if client.connection.session is None:
            assert self._cores["client"].said_disconnect
            return True
        return False

    def _check_end(self) -> None:
        """Both ends are at rest, and agree about all that was said."""
        client, server = (self._cores[name] for name in ("client", "server"))
        for core in (client, server):
            assert not core.timers._deadlines
            assert not len(core._inbox)
        for one, other in ((client, server), (server, client)):
            sent, received = one.positions()[1], other.positions()[0]
            assert received[:2] == sent[:2]
            # The client's last seal goes with its last word, and who has said that does not come again.
            assert received.sealed == sent.sealed or (one is client and not server._draining.disconnect_received)
        for connection in self._connections:
            assert connection.session is None
            output = connection.poll(self.pair.clock.now)
            assert isinstance(output, Wait), output
            assert output.timer is None
        assert not self._serving, "each request was answered"
        for numbers in self.asked.values():
            assert numbers == sorted(set(numbers)), "in order, and once"

    # What the ends do

    def _go_on(self) -> None:
        """The client's next act, when all that it asked has its outcome."""
        self._act += 1
        if self._act == 1:
            self._ask("pay", PAYMENT_AUTHORIZE)
            self._ask("look", GLANCE)
            self._ask("feed", FEED, credit=2)
            self._ask("tick", TICKER, credit=3)
            self._ask("fail", NOTE)
            self._ask("long" + "x" * 5500, NOTE)
        elif self._act == 2:
            for at in range(6):
                self._ask(f"many {at}", (GLANCE, NOTE)[at % 2])
            self._ask("pay many", PAYMENT_AUTHORIZE)
        elif self._act == 3:
            self.pair.client.connection.close()

    def _ask(self, words: str, kind: AnyKind, connection: Connection | None = None, **options: Any) -> None:
        connection = connection or self.pair.client.connection
        self._calls[connection.request(kind, question(kind, words), timeout=600.0, **options)] = words

    def _take(self, end: End, event: Event) -> bool:
        match event:
            case ConnectionRequested():
                end.connection.accept(session=self.pair.sessions.get(event.resume))
            case Opened() if end is self.pair.client:
                self.opened.append(event.resumed)
            case RequestReceived():
                self.asked[end.name].append(event.received.number)
                self.heard.append(words_of(event.message))
                self._serving[event.id] = end.connection, event
                self._serve(event)
            case ItemReceived():
                self._item(end, event)
            case ResponseReceived() | StreamEnded() | RequestFailed():
                self._tell(event)
            case RequestCancelled() | Writable() if event.id is not None:
                if event.id in self._serving:
                    self._serve(self._serving[event.id][1], cancelled=isinstance(event, RequestCancelled))
            case Closed() | SessionEnded():
                return False
        return True

    def _serve(self, event: RequestReceived, *, cancelled: bool = False) -> None:
        connection, _ = self._serving[event.id]
        words = words_of(event.message)
        if event.kind == PAYMENT_AUTHORIZE and words not in self._confirms:
            self._confirms[words] = event.id
            self._ask(f"confirm {words}", NOTE, connection)
            return
        if words == "many 3":
            for at in range(3):
                self._ask(f"back {at}", GLANCE, connection)
        if words == "fail" or cancelled:
            connection.fail(event.id, DECLINED)
        elif event.kind.stream:
            items = self._items.setdefault(f"of {words}", [])
            try:
                while len(items) < ITEMS:
                    connection.respond(event.id, answer(event.kind, f"{words} {len(items)}"), last=False)
                    items.append(b"")
            except WouldBlock:
                return
            connection.respond(event.id, answer(event.kind, f"{words} end"))
        else:
            connection.respond(event.id, answer(event.kind, words))
        del self._serving[event.id]

    def _item(self, end: End, event: ItemReceived) -> None:
        words = self._calls[event.id]
        items = self._items.setdefault(words, [])
        items.append(event.message.SerializeToString())
        if words == "feed":
            end.connection.grant(event.id, 1)
        elif len(items) == 2:
            end.connection.cancel(event.id)

    def _tell(self, event: ResponseReceived | StreamEnded | RequestFailed) -> None:
        words = self._calls.pop(event.id)
        assert words not in self.told, "one outcome"
        items = self._items.get(words, [])
        if words == "tick":
            items = items[:2]  # how many more were on their way does not matter
        said: Any = None
        if isinstance(event, ResponseReceived):
            said = event.message.SerializeToString()
        elif isinstance(event, RequestFailed):
            said = event.failure
        evidence = event.evidence
        assert evidence is not None
        if event.received is not None and event.received.kind is not None and event.received.kind.sealed:
            key = VerifyKey((DEVICE if words.startswith(("confirm", "back")) else SERVER).keys.public.signing_key)
            proved(evidence.receipt(), key)
        self.told[words] = (type(event), said, tuple(items))
        confirmed = self._confirms.get(words.removeprefix("confirm "))
        if words.startswith("confirm ") and confirmed is not None:
            self._serve(self._serving[confirmed][1])
        if not self._calls:
            self._go_on()
