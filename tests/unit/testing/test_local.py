"""local_client: handlers in memory, with everything real between them and the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import (
    CallFailed,
    CallRefused,
    Disposition,
    LocalProtocolError,
)
from ratatoskr.identity import Role
from ratatoskr.messages.standard import MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE, PROVIDER_REGISTER
from ratatoskr.service import Call, MemoryStore, Next, Router
from ratatoskr.testing import Clock, local_client, run
from tests.unit.testing.shop import NOTE, REDEEM, ask, payment, shop


class Sleep:
    """What a runtime would have to do something about."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def raising(error: Exception) -> Router:
    router = Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        raise error

    return router


def test_a_handler_answers() -> None:
    with local_client(shop()) as client:
        answer = run(client.request(MARKETPLACE_SEARCH, ask("Lamp")))
    assert answer.offers[0].title == "Lamp"


def test_any_runtime_will_do() -> None:
    """The same under asyncio, with handlers that wait for it."""
    router = Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        await asyncio.sleep(0)
        return v1.GoAway(reason=message.query)

    async def main() -> str:
        with local_client(router) as client:
            return (await client.request(NOTE, ask("hello"))).reason

    assert asyncio.run(main()) == "hello"


def test_who_waits_for_a_runtime_without_one_is_told_so() -> None:
    async def wait() -> None:
        await Sleep()

    with pytest.raises(LocalProtocolError, match="waits for a runtime"):
        run(wait())


@pytest.mark.parametrize(
    ("arguments", "subject"),
    [
        ({}, "device-1"),
        ({"subject": "till-7"}, "till-7"),
        ({"role": Role.PROVIDER}, "provider-1"),
    ],
)
def test_the_handler_sees_who_asks(arguments: dict[str, Any], subject: str) -> None:
    with local_client(shop(), **arguments) as client:
        assert run(client.request(NOTE, ask("x"))).reason == f"{subject}: x"
    assert client.peer.role is Role.SERVER


def test_the_tenant_is_proved_too() -> None:
    router = Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        return v1.GoAway(reason=call.peer.tenant)

    with local_client(router, tenant="acme") as client:
        assert run(client.request(NOTE, ask())).reason == "acme"


def test_roles_are_checked() -> None:
    with local_client(shop(), role=Role.PROVIDER) as client, pytest.raises(CallRefused, match="ROLE_DENIED"):
        run(client.request(PAYMENT_AUTHORIZE, payment()))


def test_a_provider_who_certified_itself_may_register_and_nothing_else() -> None:
    router = shop()

    @router.on(PROVIDER_REGISTER)
    async def register(message: v1.RegisterProvider, call: Call) -> v1.ProviderRegistered:
        assert not call.peer.enrolled
        return v1.ProviderRegistered(
            registration_id=message.registration_id, provider_id="p-1", status=v1.PROVIDER_STATUS_UNDER_REVIEW
        )

    registration = v1.RegisterProvider(
        registration_id="r-1",
        legal_name="Lamps",
        country="DE",
        subject="shop-7",
        payout_account="shop-7",
        documents=[
            v1.Document(kind=v1.DocumentKind.ValueType(1), sha256=bytes(32), media_type="image/png", size_bytes=1)
        ],
    )
    with local_client(router, enrolled=False) as client:
        assert run(client.request(PROVIDER_REGISTER, registration)).provider_id == "p-1"
        with pytest.raises(CallRefused, match="NOT_ENROLLED"):
            run(client.request(NOTE, ask()))


def test_a_payment_is_made_once() -> None:
    paid: list[int] = []
    with local_client(shop(paid)) as client:
        first = run(client.exchange(PAYMENT_AUTHORIZE, payment()))
        again = run(client.exchange(PAYMENT_AUTHORIZE, payment()))
        with pytest.raises(CallFailed, match="CONFLICT"):
            run(client.request(PAYMENT_AUTHORIZE, payment(13)))
    assert paid == [12]
    assert not first.replayed
    assert again.replayed
    assert again.message == first.message


def test_a_restarted_client_finds_what_it_did() -> None:
    paid: list[int] = []
    store = MemoryStore()
    for replayed in (False, True):
        with local_client(shop(paid), store=store) as client:
            assert run(client.exchange(PAYMENT_AUTHORIZE, payment())).replayed is replayed
    assert paid == [12]


def test_answers_come_with_receipts() -> None:
    with local_client(shop()) as client:
        answer = run(client.exchange(PAYMENT_AUTHORIZE, payment()))
        search = run(client.exchange(MARKETPLACE_SEARCH, ask()))
        receipt = answer.receipt()
        assert receipt is not None
        receipt.verify(client.peer.verify_key)
        assert search.receipt() is None  # reads are sealed a little later
        client.advance(0.25)
        assert search.receipt() is not None


def test_a_failure_is_what_the_caller_sees() -> None:
    with local_client(shop()) as client, pytest.raises(CallFailed, match="NO_FUNDS: the account holds 100") as caught:
        run(client.request(PAYMENT_AUTHORIZE, payment(101)))
    assert caught.value.failure.disposition is Disposition.FAILED


def test_a_message_that_breaks_its_rules_does_not_reach_the_handler() -> None:
    with local_client(shop()) as client, pytest.raises(CallRefused, match="PAYLOAD_SCHEMA"):
        run(client.request(PAYMENT_AUTHORIZE, v1.AuthorizePayment(end_to_end_id="ORDER-1")))


def test_a_kind_without_a_handler() -> None:
    with local_client(Router()) as client, pytest.raises(CallRefused, match="NO_HANDLER"):
        run(client.request(MARKETPLACE_SEARCH, ask()))


def test_what_a_handler_raises_by_mistake_comes_out_with_its_traceback() -> None:
    with local_client(raising(ZeroDivisionError("oh"))) as client:
        with pytest.raises(ZeroDivisionError, match="oh") as caught:
            run(client.request(NOTE, ask()))
        assert caught.traceback[-1].name == "note"
        assert caught.value.__suppress_context__


def test_or_is_told_as_a_peer_is_told() -> None:
    with local_client(raising(ZeroDivisionError("secret")), raise_errors=False) as client:
        with pytest.raises(CallFailed, match="INTERNAL") as caught:
            run(client.request(NOTE, ask()))
        (note,) = client.notes
    assert "secret" not in str(caught.value)
    assert note.reference in str(caught.value)
    assert isinstance(note.error, ZeroDivisionError)


def test_an_answer_that_no_handler_should_give_says_what_is_wrong() -> None:
    router = Router()

    @router.on(PAYMENT_AUTHORIZE)
    async def authorize(message: v1.AuthorizePayment, call: Call) -> v1.PaymentAuthorized:
        return v1.PaymentAuthorized()

    with local_client(router) as client, pytest.raises(LocalProtocolError, match="returned an invalid PaymentAuthori"):
        run(client.request(PAYMENT_AUTHORIZE, payment()))


def test_the_error_of_one_call_is_not_the_next_one_s() -> None:
    router = raising(ZeroDivisionError("first"))
    router.include(shop_without_notes())
    with local_client(router) as client:
        with pytest.raises(ZeroDivisionError):
            run(client.request(NOTE, ask()))
        with pytest.raises(CallRefused, match="NO_HANDLER"):
            run(client.request(PAYMENT_AUTHORIZE, payment()))


def shop_without_notes() -> Router:
    router = Router()

    @router.on(MARKETPLACE_SEARCH)
    async def search(message: v1.Search, call: Call) -> v1.SearchResult:
        return v1.SearchResult()

    return router


def test_middleware_is_around_the_handler() -> None:
    router = shop()

    @router.middleware
    async def shout(call: Call, message: Any, call_next: Next) -> Any:
        answer: Any = await call_next(message)
        return v1.GoAway(reason=answer.reason.upper())

    with local_client(router) as client:
        assert run(client.request(NOTE, ask("quiet"))).reason == "DEVICE-1: QUIET"


def test_a_handler_in_a_thread_runs_here() -> None:
    router = Router()

    @router.on(NOTE, thread=True)
    def note(message: v1.Search, call: Call) -> v1.GoAway:
        return v1.GoAway(reason="blocking")

    with local_client(router) as client:
        assert run(client.request(NOTE, ask())).reason == "blocking"


def test_a_handler_may_ask_back() -> None:
    """Calls within calls, three deep, and the client is told who asks."""
    server, phone = Router(), Router()

    @server.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        if message.query == "deepest":
            return v1.GoAway(reason="bottom")
        reply = await call.request(REDEEM, ask("are you sure?"), key="k")
        return v1.GoAway(reason=f"the phone says {reply.reason}")

    @phone.on(REDEEM)
    async def confirm(message: v1.Search, call: Call) -> v1.GoAway:
        deepest = await call.request(NOTE, ask("deepest"))
        return v1.GoAway(reason=f"{message.query} {call.peer.role.name} {deepest.reason}")

    with local_client(server, answers=phone) as client:
        assert run(client.request(NOTE, ask())).reason == "the phone says are you sure? SERVER bottom"


def test_metadata_time_and_expiry_reach_the_handler() -> None:
    router = Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        return v1.GoAway(reason=f"{call.metadata['trace']} {call.remaining():.0f} {call.expires_at}")

    clock = Clock(wall=1_000_000.0)
    with local_client(router, clock=clock) as client:
        answer = run(client.request(NOTE, ask(), metadata={"trace": "t-1"}, timeout=7.0, expires_at=1_000_060.0))
        assert answer.reason == "t-1 7 1000060.0"
        client.advance(60.0)
        with pytest.raises(CallRefused, match="REQUEST_EXPIRED"):
            run(client.request(NOTE, ask(), expires_at=1_000_060.0))


def test_a_key_makes_a_request_run_once() -> None:
    runs: list[str] = []
    router = Router()

    @router.on(REDEEM)
    async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
        runs.append(message.query)
        return v1.GoAway()

    with local_client(router) as client:
        for _ in range(3):
            run(client.request(REDEEM, ask("voucher"), key="voucher"))
    assert runs == ["voucher"]
