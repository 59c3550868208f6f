"""Events are made to be matched, and show no secret."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.errors import Fault
from ratatoskr.events import Closed, ConnectionRequested, RequestFailed, RequestId, ResponseReceived
from ratatoskr.messages import Direction, Evidence, Position, Received
from ratatoskr.messages.seals import SealContext
from ratatoskr.messages.span import Span
from tests.unit.messages.support import SESSION_ID, failure, found
from tests.unit.session.support import FOUND, SEARCH, Both


def test_a_token_is_not_shown() -> None:
    event = ConnectionRequested(None, b"a secret token")  # type: ignore[arg-type]
    assert "secret" not in repr(event)
    assert "<14 bytes>" in repr(event)


@pytest.mark.parametrize("fault", Fault)
def test_closed_says_what_the_table_of_faults_says(fault: Fault) -> None:
    closed = Closed(fault, "rule", "detail")
    assert (closed.code, closed.may_reconnect, closed.clean) == (fault.code, fault.may_reconnect, fault is Fault.CLEAN)


def test_a_failure_that_was_made_here_has_no_evidence() -> None:
    failed = RequestFailed(RequestId(), failure())
    assert (failed.evidence, failed.replayed) == (None, False)


@pytest.mark.parametrize("replayed", [True, False])
def test_outcomes_say_whether_they_are_repeated(replayed: bool) -> None:
    span = Span(SealContext(SESSION_ID, b"", b"", 0), 1, Position.start(SESSION_ID, Direction.FROM_SERVER).chain)
    received = Received(1, b"", b"", found(replayed=replayed), SEARCH, span)
    answered = ResponseReceived(RequestId(), FOUND, received)
    assert answered.replayed is replayed
    assert repr(answered) == "ResponseReceived(MARKETPLACE_SEARCH (10/1))"
    assert isinstance(answered.evidence, Evidence)
    assert RequestFailed(RequestId(), failure(), received).replayed is replayed


def test_a_request_shows_its_kind_and_not_its_content() -> None:
    both = Both()
    both.client.request(message=v1.Search(query="private"))
    both.settle()
    (event,) = both.server.events
    assert repr(event) == "RequestReceived(MARKETPLACE_SEARCH (10/1))"
