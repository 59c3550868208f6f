"""What a courier learns from the calls of a peer: whether there is a line, when one opens, what the server has said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ratatoskr.channel import XX_AESGCM
from ratatoskr.connection import new_session
from ratatoskr.events import Event
from ratatoskr.limits import Limits
from ratatoskr.service import NO_RETRIES, Calls, Router, Service
from ratatoskr.testing.pair import Pair
from tests.unit.service.lines import Hands
from tests.unit.service.support import AUTHORITY

KEPT = 60.0
SERVER = AUTHORITY.server_config(suites=(XX_AESGCM,), session_timeout=KEPT)


class Asking:
    """A client's calls over a pair. Who lasts goes on with its session, and with a new one after a goodbye."""

    def __init__(self, *, lasts: bool) -> None:
        config = AUTHORITY.client_config(suites=(XX_AESGCM,), session_timeout=KEPT if lasts else 0.0)
        self.pair = Pair(client=config, server=replace(SERVER, retention=3600.0))
        self.host = Hands(self.pair.clock, eager=False)
        service = Service(Router(), host=self.host)
        renew = (lambda: new_session(config)) if lasts else None
        self.calls = Calls(service, self.host, limits=Limits(), retry=NO_RETRIES, renew=renew)
        self.opened: list[bool] = []
        """Whether there was a line, each time that one was said to be open."""
        self.calls.on_open = lambda: self.opened.append(self.calls.connected)
        self.pair.client.on_event = self._on_event

    def _on_event(self, event: Event) -> bool:
        self.footing.handle(self.pair.client.connection, event)
        return False

    def stand(self) -> None:
        self.footing = self.calls.stand(self.pair.client.connection, lambda: None)

    def known(self) -> tuple[bool, float | None]:
        return self.calls.connected, self.calls.retention


@pytest.fixture(params=[True, False], ids=["lasts", "ends"])
def asking(request: pytest.FixtureRequest) -> Iterator[Asking]:
    made = Asking(lasts=request.param)
    yield made
    for strand in made.host.strands:
        strand.coroutine.close()


def test_there_is_a_line_from_when_it_is_open_until_it_is_lost(asking: Asking) -> None:
    assert asking.known() == (False, None), "it stands on nothing"
    asking.stand()
    assert asking.known() == (False, None), "the handshake is under way"
    asking.pair.open()
    assert asking.known() == (True, 3600.0)
    asking.pair.cut()
    asking.pair.run()
    assert asking.known() == (False, 3600.0), "what was said last"
    assert asking.opened == [True]


@pytest.mark.parametrize("asking", [True], indirect=True)
def test_the_next_line_is_a_line_and_says_what_it_says(asking: Asking) -> None:
    asking.calls.wait()
    assert asking.known() == (False, None), "it waits for the first one"
    asking.stand()
    asking.pair.open()
    asking.pair.cut()
    asking.pair.run()
    asking.pair.reconnect(server=replace(SERVER, retention=60.0))
    asking.stand()
    assert asking.known() == (False, 3600.0)
    asking.pair.open()
    assert asking.known() == (True, 60.0)
    assert asking.opened == [True, True]


def test_a_line_on_which_the_server_says_goodbye_is_none(asking: Asking) -> None:
    asking.stand()
    asking.pair.open()
    asking.pair.server.connection.close()
    asking.pair.run()
    assert asking.known() == (False, 3600.0)


def test_nobody_need_listen(asking: Asking) -> None:
    asking.calls.on_open = None
    asking.stand()
    asking.pair.open()
    assert asking.known() == (True, 3600.0)
