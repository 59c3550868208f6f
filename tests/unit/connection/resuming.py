"""A pair whose sessions outlive their line, and what happens to it: the line is lost, another one is made."""

from __future__ import annotations

from typing import Any

from ratatoskr.channel import XX_AESGCM
from ratatoskr.errors import Fault
from ratatoskr.events import Closed, Opened, RequestId, RequestReceived
from ratatoskr.limits import Limits
from ratatoskr.messages import KindRegistry
from ratatoskr.messages.standard import PAYMENT_AUTHORIZE
from ratatoskr.session import ResumableSession
from ratatoskr.testing import Authority, End, Pair
from tests.unit.messages.support import KINDS
from tests.unit.session.support import pay

AUTHORITY = Authority("resuming")
DEVICE, SERVER = AUTHORITY.device(), AUTHORITY.server("yggdrasil.test")
KEPT = 60.0


def make_pair(
    *, client: float = KEPT, server: float = KEPT, limits: Limits | None = None, kinds: KindRegistry = KINDS
) -> Pair:
    """Open, and in the suite whose handshake is fast. The timeouts are those of sessions; the limits are both ends'."""
    same: dict[str, Any] = {"limits": limits, "kinds": kinds, "suites": (XX_AESGCM,)}
    both = Pair(
        client=AUTHORITY.client_config(DEVICE, session_timeout=client, **same),
        server=AUTHORITY.server_config(identity=SERVER, session_timeout=server, **same),
    )
    both.open()
    return both


def lose(both: Pair) -> None:
    """The line is cut, both ends notice, and their ``Closed`` is taken."""
    both.cut()
    both.run()
    for end in (both.client, both.server):
        assert end.take(Closed).fault is Fault.TRANSPORT_LOST


def resume(both: Pair) -> None:
    both.reconnect()
    both.run_until(lambda: both.client.seen(Opened) and both.server.seen(Opened))
    both.run()
    for end in (both.client, both.server):
        assert end.take(Opened).resumed


def ask(both: Pair, **options: Any) -> tuple[RequestId, RequestReceived]:
    id = both.client.connection.request(PAYMENT_AUTHORIZE, pay(), **options)
    both.run()
    return id, both.server.take(RequestReceived)


def session_of(end: End) -> ResumableSession:
    session = end.connection.session
    assert session is not None
    return session
