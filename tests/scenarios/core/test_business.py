"""Whole flows: a search, an order, a payment, with their receipts; and calls that cross."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.errors import Disposition, Failure, Status
from ratatoskr.events import RequestFailed, RequestReceived, ResponseReceived, SpanSealed
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind, Receipt
from ratatoskr.messages.standard import MARKETPLACE_ORDER, MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE
from tests.scenarios.core.support import (
    DEVICE,
    ECHO,
    GLANCE,
    NOTE,
    PLATFORM,
    SERVER,
    Business,
    make_pair,
    note,
    payment,
    proved,
    purchase,
)

LINES = [
    pytest.param({}, id="at once"),
    pytest.param({"latency": 0.3}, id="far away"),
    pytest.param({"chunk": 1}, id="byte by byte"),
    pytest.param({"latency": 0.05, "chunk": 97}, id="in crumbs"),
]


@pytest.mark.parametrize("line", LINES)
def test_a_device_searches_orders_and_pays(line: dict[str, float]) -> None:
    pair = make_pair(**line)  # type: ignore[arg-type]
    device, platform = Business(pair.client), Business(pair.server, PLATFORM)
    search = device.ask(MARKETPLACE_SEARCH, v1.Search(query="lamp"))
    pair.open()  # the search was made before the line was open, and waited
    pair.run(seconds=2)
    assert device.answer(search).offers[0].title == "Lamp"

    order = device.ask(MARKETPLACE_ORDER, purchase())
    pair.run(seconds=2)
    assert device.answer(order).order_number == "O-000001"

    paid = device.ask(PAYMENT_AUTHORIZE, payment())
    pair.run(seconds=2)
    assert device.answer(paid).status == v1.PAYMENT_STATUS_AUTHORIZED

    # each side can prove what the other said, from bytes and a key alone
    kinds: list[AnyKind] = [MARKETPLACE_SEARCH, MARKETPLACE_ORDER, PAYMENT_AUTHORIZE]
    for asked, kind in zip(platform.asked, kinds, strict=True):
        receipt = proved(asked.evidence.receipt(), DEVICE.certificate.verify_key)
        assert isinstance(receipt.message, v1.RatatoskrRequest)
        assert (receipt.message.type, receipt.message.operation) == (kind.type, kind.operation)
        assert receipt.message.payload == asked.message.SerializeToString(deterministic=True)
    for id, asked in zip((search, order, paid), platform.asked, strict=True):
        evidence = device.outcomes[id].evidence
        assert evidence is not None
        receipt = proved(evidence.receipt(), SERVER.certificate.verify_key)
        assert isinstance(receipt.message, v1.RatatoskrResponse)
        question: Receipt | None = asked.evidence.receipt()
        assert question is not None
        assert receipt.message.request_leaf == question.leaf, "the answer names the question"

    pair.client.connection.close()
    pair.run(seconds=3)
    for end in (pair.client, pair.server):
        assert end.closed is not None
        assert end.closed.clean


def test_both_ask_and_both_answer() -> None:
    pair = make_pair(latency=0.1)
    ends = [Business(end, ECHO) for end in (pair.client, pair.server)]
    pair.open()
    asked = [[end.ask(NOTE, note(f"{name} {n}")) for n in range(10)] for end, name in zip(ends, "ab", strict=True)]
    pair.run(seconds=1)
    for end, name, ids in zip(ends, "ab", asked, strict=True):
        assert [end.answer(id).reason for id in ids] == [f"{name} {n}" for n in range(10)]


def test_a_handler_calls_back_before_it_answers() -> None:
    """Every slot of both directions is in use by calls that wait for each other; all of them end."""
    slots = Limits(requests_open=3)
    pair = make_pair(client=slots, server=slots, latency=0.05)

    def confirm(server: Business, event: RequestReceived) -> None:
        def then(outcome: ResponseReceived | RequestFailed) -> None:
            assert isinstance(outcome, ResponseReceived)
            server.respond(event, note(f"confirmed: {outcome.message}".strip()))

        server.ask(GLANCE, event.message, then)

    device = Business(pair.client, ECHO)
    Business(pair.server, {NOTE: confirm})
    pair.open()
    ids = [device.ask(NOTE, note(f"n{n}")) for n in range(12)]
    pair.run(seconds=10)
    assert [device.answer(id).reason for id in ids] == [f'confirmed: reason: "n{n}"' for n in range(12)]


def test_payments_go_before_other_requests() -> None:
    """Of what waits for a slot: the order of their numbers is the order of sending."""
    pair = make_pair(client=Limits(requests_open=1), server=Limits(requests_open=1))
    device, platform = Business(pair.client), Business(pair.server, PLATFORM)
    for _ in range(3):
        device.ask(MARKETPLACE_SEARCH, v1.Search())
    device.ask(PAYMENT_AUTHORIZE, payment())
    pair.open()
    pair.run(seconds=1)
    assert platform.asked[0].kind is PAYMENT_AUTHORIZE
    assert len(platform.asked) == 4


def test_a_failure_travels_as_it_was_meant() -> None:
    failure = Failure(
        Status.FAILED_PRECONDITION, "INSUFFICIENT_FUNDS", "12.00 EUR are there", Disposition.FAILED, retry_delay=60.0
    )
    pair = make_pair()
    device = Business(pair.client)
    Business(pair.server, {PAYMENT_AUTHORIZE: lambda _, __: failure})
    pair.open()
    id = device.ask(PAYMENT_AUTHORIZE, payment())
    pair.run()
    assert device.failure(id) == failure
    evidence = device.outcomes[id].evidence
    assert evidence is not None
    proved(evidence.receipt(), SERVER.certificate.verify_key)


def test_metadata_travels_beside_the_payload() -> None:
    pair = make_pair()
    device, platform = Business(pair.client), Business(pair.server, ECHO)
    pair.open()
    device.ask(NOTE, note(), metadata={"trace": "t-1", "user.language": "de"})
    pair.run()
    assert platform.asked[0].metadata == {"trace": "t-1", "user.language": "de"}


def test_an_outcome_that_is_repeated_says_so() -> None:
    pair = make_pair()
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    id = device.ask(PAYMENT_AUTHORIZE, payment())
    pair.run()
    (asked,) = platform.asked
    answer = PLATFORM[PAYMENT_AUTHORIZE](platform, asked)
    assert isinstance(answer, v1.PaymentAuthorized)
    pair.server.connection.respond(asked.id, answer, replayed=True)
    pair.run()
    assert device.outcomes[id].replayed


# Deferred kinds


def test_a_search_is_answered_before_it_is_sealed_and_proved_a_quarter_second_later() -> None:
    pair = make_pair()
    device, platform = Business(pair.client), Business(pair.server, PLATFORM)
    pair.open()
    id = device.ask(MARKETPLACE_SEARCH, v1.Search(query="lamp"))
    pair.run()
    (asked,) = platform.asked
    evidence = device.outcomes[id].evidence
    assert evidence is not None
    assert asked.evidence.receipt() is None
    assert evidence.receipt() is None

    pair.run(seconds=Limits().seal_delay - 0.001)
    assert (asked.evidence.sealed, evidence.sealed) == (False, False)
    pair.run(seconds=0.001)
    assert pair.server.take(SpanSealed).messages == 1
    assert pair.client.take(SpanSealed).messages == 1
    proved(asked.evidence.receipt(), DEVICE.certificate.verify_key)
    proved(evidence.receipt(), SERVER.certificate.verify_key)


def test_a_span_is_sealed_when_it_is_full() -> None:
    """Before a quarter of a second has passed: at 256 messages, or at what the limits say."""
    pair = make_pair(client=Limits(span_messages=8, flight_messages=8))
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    for _ in range(7):
        device.ask(GLANCE, note())
    pair.run()
    assert not any(asked.evidence.sealed for asked in platform.asked)
    device.ask(GLANCE, note())
    pair.run()
    assert all(asked.evidence.sealed for asked in platform.asked)
    assert pair.server.take(SpanSealed).messages == 7  # the eighth came with its seal
    receipts = [proved(asked.evidence.receipt(), DEVICE.certificate.verify_key) for asked in platform.asked]
    assert len({receipt.signature for receipt in receipts}) == 1


def test_what_does_not_fit_into_a_span_waits_for_the_next() -> None:
    """Seven are unsealed and eight more are there: one of them fills the span, the others follow its seal."""
    pair = make_pair(
        client=Limits(span_messages=8, flight_messages=8), server=Limits(span_messages=8, flight_messages=8)
    )
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    for count in (7, 8):
        for _ in range(count):
            device.ask(GLANCE, note())
        pair.run()
    assert len(platform.asked) == 15
    assert [asked.evidence.sealed for asked in platform.asked] == [True] * 8 + [False] * 7


def test_five_hundred_reads_need_two_seals() -> None:
    limits = Limits(requests_open=600)
    pair = make_pair(client=limits, server=limits)
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    for _ in range(500):
        device.ask(GLANCE, note())
    pair.run(seconds=0.25)
    signatures = {asked.evidence.receipt().signature for asked in platform.asked}  # type: ignore[union-attr]
    assert len(platform.asked) == 500
    assert len(signatures) == 2


def test_a_payment_seals_the_searches_before_it() -> None:
    pair = make_pair()
    device, platform = Business(pair.client), Business(pair.server, PLATFORM)
    pair.open()
    device.ask(MARKETPLACE_SEARCH, v1.Search())
    pair.run()
    device.ask(PAYMENT_AUTHORIZE, payment())
    pair.run()
    assert all(asked.evidence.sealed for asked in platform.asked)
    assert pair.clock.now.mono == 0.0


def test_a_seal_waits_while_a_write_is_under_way() -> None:
    pair = make_pair()
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    pair.client.holds_writes = True
    device.ask(GLANCE, note())
    pair.run(seconds=1)
    assert [asked.evidence.sealed for asked in platform.asked] == [False]
    pair.client.holds_writes = False
    pair.run()
    assert [asked.evidence.sealed for asked in platform.asked] == [True]
