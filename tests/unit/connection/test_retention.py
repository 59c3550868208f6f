"""For how long the server keeps outcomes, as both ends know it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from ratatoskr.channel import XX_AESGCM
from ratatoskr.errors import Disposition, Failure, Status
from ratatoskr.events import Closed, ConnectionRequested, Opened
from ratatoskr.testing import Pair
from tests.unit.connection.resuming import AUTHORITY, DEVICE, KEPT, SERVER, lose, make_pair

NO = Failure(Status.PERMISSION_DENIED, "NO", "not you", Disposition.NOT_PROCESSED)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 3600.0, 1e9])
def test_it_is_known_when_the_connection_is_open_and_stays_known(seconds: float) -> None:
    config = replace(AUTHORITY.server_config(identity=SERVER), retention=seconds)
    pair = Pair(client=AUTHORITY.client_config(DEVICE), server=config)
    ends = (pair.client, pair.server)
    assert [end.connection.retention for end in ends] == [None, None]
    for end in ends:
        pair.run_until(partial(end.seen, Opened))
        assert end.connection.retention == seconds
    pair.client.connection.close(drain=False)
    pair.run()
    assert [end.connection.retention for end in ends] == [seconds, seconds]


def test_who_was_sent_away_does_not_know_it() -> None:
    pair = Pair(client=AUTHORITY.client_config(DEVICE), server=AUTHORITY.server_config(identity=SERVER), accept=False)
    pair.run_until(lambda: pair.server.seen(ConnectionRequested))
    pair.server.connection.reject(NO)
    pair.run_until(lambda: pair.client.seen(Closed))
    assert [end.connection.retention for end in (pair.client, pair.server)] == [None, None]


def test_each_connection_of_a_session_says_what_the_server_says_then() -> None:
    pair = make_pair()
    first = pair.client.connection
    lose(pair)
    again = AUTHORITY.server_config(identity=SERVER, suites=(XX_AESGCM,), session_timeout=KEPT)
    pair.reconnect(server=replace(again, retention=60.0))
    second = pair.client.connection
    assert second.retention is None
    pair.open()
    assert [each.retention for each in (first, second)] == [7 * 24 * 3600.0, 60.0]
