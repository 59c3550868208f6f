"""The demo against platforms that lie: it must notice each, and say what does not hold."""

from __future__ import annotations

import asyncio
import io
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from google.protobuf.message import Message

from ratatoskr import MARKETPLACE_BROWSE, PAYMENT_CAPTURE, RatatoskrError, Receipt, Role, v1
from ratatoskr.service import Call, Next, Router
from ratatoskr_cli.client import KINDS, target_of
from ratatoskr_cli.payloads import payload_to_json
from ratatoskr_cli.proof import Customer
from ratatoskr_cli.receipts import ReceiptFile
from ratatoskr_cli.relay import Relay
from ratatoskr_cli.report import Report
from ratatoskr_cli.story import Paid, Story
from ratatoskr_files import Config, DevFiles, dev_init
from ratatoskr_sandbox import Activity, Amount, Statement, sandbox_router
from ratatoskr_stores import SqliteStore
from ratatoskr_websockets import Peer, serve

Lie: TypeAlias = Callable[[SqliteStore, Call, Message, Next], Awaitable[Message]]


@asynccontextmanager
async def platform(files: DevFiles, lie: Lie | None, session_timeout: float) -> AsyncIterator[tuple[str, Path]]:
    """A sandbox whose router tells a lie; where it listens, and its books."""
    database = files.directory / "books.sqlite"
    with closing(SqliteStore(database)) as store:
        router = Router()

        @router.middleware
        async def lying(call: Call, message: Message, call_next: Next) -> Message:
            return await call_next(message) if lie is None else await lie(store, call, message, call_next)

        router.include(await sandbox_router(store, time.time))
        config = Config.load(files.server, kinds=KINDS)
        async with serve(router, config, "127.0.0.1", 0, store=store, session_timeout=session_timeout) as server:
            yield f"ws://127.0.0.1:{server.port}", database


async def tell(home: Path, lie: Lie | None, *, patience: float = 10.0, session_timeout: float = 60.0) -> str:
    """What the demo shows."""
    files = dev_init(home, now=time.time())
    shown = io.StringIO()
    with redirect_stdout(shown):
        async with platform(files, lie, session_timeout) as (url, database):
            device, provider = (target_of(path, url) for path in (files.device, files.provider))
            limits = replace(device.config.limits, request_timeout=patience)
            device = replace(device, config=replace(device.config, limits=limits))
            await Story(device, provider, Report(as_json=False), database).play()
    return shown.getvalue()


def run(awaitable: Any) -> Any:
    return asyncio.run(asyncio.wait_for(awaitable, 60))


def test_an_honest_platform_passes(tmp_path: Path) -> None:
    assert run(tell(tmp_path, None)).count(" ✓ ") == 14


async def one_cent_more(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    answer = await call_next(message)
    if isinstance(answer, Statement) and answer.account.startswith("wallet:") and len(answer.balances):
        booked = answer.balances[0].booked
        if booked.units < 1000:
            booked.nanos += 10_000_000
    return answer


async def sums_that_are_not_zero(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    answer = await call_next(message)
    if isinstance(answer, Statement):
        answer.ledger_sums.append(v1.Money(currency="EUR", units=1))
    return answer


async def a_capture_that_moves_nothing(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    if call.kind != PAYMENT_CAPTURE:
        return await call_next(message)
    assert isinstance(message, v1.CapturePayment)
    return v1.PaymentCaptured(
        payment_id=message.payment_id,
        capture_id=message.capture_id,
        status=v1.PAYMENT_STATUS_CAPTURED,
        amount=message.amount,
        booking_reference="B-000099",
    )


async def a_store_that_forgets(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    answer = await call_next(message)
    if isinstance(answer, Statement) and call.peer.role is Role.PROVIDER:
        await store.run(partial(_execute, "DELETE FROM ratatoskr_once"))
    return answer


async def a_store_that_forgets_at_once(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    answer = await call_next(message)
    if isinstance(answer, Statement):
        await store.run(partial(_execute, "DELETE FROM ratatoskr_once"))
    return answer


async def a_capture_that_runs_again(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    if call.kind == PAYMENT_CAPTURE:
        return await a_capture_that_moves_nothing(store, call, message, call_next)
    return await a_store_that_forgets_at_once(store, call, message, call_next)


def _execute(statement: str, db: sqlite3.Connection) -> None:
    db.execute(statement)


async def books_that_were_cooked(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    answer = await call_next(message)
    if isinstance(answer, Statement):
        # From one account to another without a booking: every sum is still zero.
        for statement in (
            "INSERT INTO balances VALUES ('house', 'EUR', 0, 0, 0) ON CONFLICT DO NOTHING",
            "UPDATE balances SET balance = balance + 5 WHERE account = 'house'",
            "UPDATE balances SET balance = balance - 5 WHERE account = 'system:mint'",
        ):
            await store.run(partial(_execute, statement))
    return answer


async def an_order_that_costs_more(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    answer = await call_next(message)
    if isinstance(answer, v1.OrderPlaced):
        answer.total.units += 1
    return answer


async def a_browse_that_goes_on(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    if call.kind != MARKETPLACE_BROWSE:
        return await call_next(message)
    return await asyncio.shield(asyncio.ensure_future(call_next(message)))


async def a_browse_that_sent_everything(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    answer = await call_next(message)
    if isinstance(answer, Activity):
        answer.latest_sent = answer.latest_total
    return answer


async def a_browse_of_something_else(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    if isinstance(message, v1.Browse):
        message.query = "demo lamp 1"
    return await call_next(message)


async def a_lamp_under_another_name(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    if isinstance(message, v1.Browse):
        again = "UPDATE offers SET offer_id = 'demo-lamp-08' WHERE offer_id = 'demo-lamp-8'"
        await store.run(partial(_execute, again))
    return await call_next(message)


async def a_search_that_finds_another(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    answer = await call_next(message)
    if isinstance(answer, v1.SearchResult):
        answer.offers[0].offer_id = "demo-lamp-1"
    return answer


async def a_search_without_end(store: SqliteStore, call: Call, message: Message, call_next: Next) -> Message:
    if isinstance(message, v1.Search):
        await asyncio.Event().wait()
    return await call_next(message)


@pytest.mark.parametrize(
    ("lie", "noticed"),
    [
        (one_cent_more, r"wallet:DEV:device-1 has 922\.01; it should have 922\.00"),
        (sums_that_are_not_zero, "the ledger sums to 0.00 EUR, 1.00 EUR, not to zero"),
        (a_capture_that_moves_nothing, r"has 1,000\.00 \(78\.00 held\); it should have 922\.00"),
        (a_store_that_forgets, "the restarted client failed: PAYMENT_AUTHORIZE: ORDER_PAID"),
        (a_store_that_forgets_at_once, "P-000001 is captured already"),
        (a_capture_that_runs_again, "a capture that was cancelled while it ran did not go on"),
        (a_browse_that_goes_on, "the server still works on a browse that was cancelled"),
        (a_browse_that_sent_everything, "the server sent 40 of 40 to somebody who left after 3"),
        (a_browse_of_something_else, "a lamp is number 1 of 13"),
        (a_lamp_under_another_name, "the browse did not find every lamp once"),
        (a_search_that_finds_another, "the search found .'demo-lamp-1'."),
        (an_order_that_costs_more, "the order does not cost what its lines cost"),
        (
            books_that_were_cooked,
            "the ledger does not hold: .*sum of its postings: not so for house EUR",
        ),
        (a_search_without_end, "MARKETPLACE_SEARCH: no answer in .*held back or changed on the way"),
    ],
)
def test_a_lie_is_noticed(tmp_path: Path, lie: Lie, noticed: str) -> None:
    with pytest.raises(RatatoskrError, match=noticed):
        run(tell(tmp_path, lie, patience=2.0 if lie is a_search_without_end else 10.0))


def test_a_session_that_ends_with_its_line_is_noticed(tmp_path: Path) -> None:
    """The payment happens once all the same: it is asked for again, and the answer is a replay."""
    with pytest.raises(RatatoskrError, match="the line was cut, and the session did not survive that"):
        run(tell(tmp_path, None, session_timeout=0.0))


def test_a_line_that_is_not_cut_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Relay, "cut_at_reply", lambda relay, sent: None)
    with pytest.raises(RatatoskrError, match="the line was to be cut, and was not"):
        run(tell(tmp_path, None))


def test_an_answer_from_the_store_is_not_the_one_that_was_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Customer.ask

    async def replayed(customer: Customer, kind: Any, message: Any) -> Any:
        answer = await ask(customer, kind, message)
        customer.said.replayed = True
        return answer

    monkeypatch.setattr(Customer, "ask", replayed)
    with pytest.raises(RatatoskrError, match="the answer that was on its way was not sent again"):
        run(tell(tmp_path, None))


def test_a_line_that_somebody_else_cuts_too_ends_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redialling heals what is done on the way; the demo is there to show it."""
    authentic = Relay.serve

    async def dropping(relay: Relay, reader: Any, writer: Any) -> None:
        if relay.lines == 1:
            relay.lines += 1
            writer.transport.abort()
        else:
            await authentic(relay, reader, writer)

    monkeypatch.setattr(Relay, "serve", dropping)
    with pytest.raises(RatatoskrError, match="the line was cut once, and there were 3 in all"):
        run(tell(tmp_path, None))


@pytest.mark.parametrize(
    ("changes", "noticed"),
    [
        ({"signed_at_ms": 1}, "does not verify: .*certificate.not_yet_valid"),
        ({"number": 7}, "does not verify: .*receipt.signature"),
        ({"recipient": bytes(32)}, "does not verify: .*receipt.signature"),
        ({"signer": bytes(32)}, "does not verify: .*receipt.signer"),
    ],
)
def test_a_receipt_that_does_not_verify_ends_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], noticed: str
) -> None:
    genuine = Peer.receipt

    async def changed(peer: Peer, exchange: Any) -> Receipt:
        return replace(await genuine(peer, exchange), **changes)

    monkeypatch.setattr(Peer, "receipt", changed)
    with pytest.raises(RatatoskrError, match=noticed):
        run(tell(tmp_path, None))


def _another(kept: list[tuple[Peer, Receipt]]) -> Receipt:
    """The first that this peer was given."""
    return next(receipt for peer, receipt in kept if peer is kept[-1][0])


def _somebody(kept: list[tuple[Peer, Receipt]]) -> Receipt:
    """One for somebody else, as soon as there is one."""
    return next((receipt for _, receipt in kept if receipt.recipient != kept[-1][1].recipient), kept[-1][1])


def _session(kept: list[tuple[Peer, Receipt]]) -> Receipt:
    """One of an earlier session of the same customer, as soon as there is one."""
    latest = kept[-1][1]
    earlier = (
        receipt
        for _, receipt in kept
        if receipt.recipient == latest.recipient and receipt.session_id != latest.session_id
    )
    return next(earlier, latest)


@pytest.mark.parametrize(
    ("choose", "noticed"),
    [
        (_another, "the receipt is for another answer"),
        (_somebody, "the receipt is for somebody else"),
        (_session, "the receipt is of another session"),
    ],
)
def test_a_receipt_of_something_else_ends_the_demo(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    choose: Callable[[list[tuple[Peer, Receipt]]], Receipt],
    noticed: str,
) -> None:
    genuine = Peer.receipt
    kept: list[tuple[Peer, Receipt]] = []

    async def chosen(peer: Peer, exchange: Any) -> Receipt:
        kept.append((peer, await genuine(peer, exchange)))
        return choose(kept)

    monkeypatch.setattr(Peer, "receipt", chosen)
    with pytest.raises(RatatoskrError, match=noticed):
        run(tell(tmp_path, None))


def test_a_second_answer_that_is_no_replay_ends_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first: list[Paid] = []
    pay = Story._pay

    async def remembering(*arguments: Any) -> Paid:
        first.append(await pay(*arguments))
        return first[0]

    async def no_process(*_: Any) -> tuple[dict[str, Any], ReceiptFile]:
        return payload_to_json(first[0].answer), first[0].proof

    monkeypatch.setattr(Story, "_pay", remembering)
    monkeypatch.setattr(Story, "_in_another_process", no_process)
    with pytest.raises(RatatoskrError, match="does not say that it is a replay"):
        run(tell(tmp_path, None))


def test_an_end_that_is_not_clean_ends_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close = Peer.close
    monkeypatch.setattr(Peer, "close", lambda peer: close(peer, drain=False))
    with pytest.raises(RatatoskrError, match=r"tampered with or cut on the way: .*ABANDONED"):
        run(tell(tmp_path, None))


def test_every_bit_of_a_receipt_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = Receipt.from_bytes

    def lenient(data: bytes) -> Receipt:
        return last[0] if last and data[:-1] == last[0].to_bytes()[:-1] else genuine(data)

    last: list[Receipt] = []
    verify = Customer.verify

    def remembering(customer: Customer, proof: Any) -> Any:
        if proof.receipt.message.operation == 1 and proof.receipt.message.type == 11 and not last:
            last.append(proof.receipt)
        return verify(customer, proof)

    monkeypatch.setattr(Customer, "verify", remembering)
    monkeypatch.setattr(Receipt, "from_bytes", lenient)
    with pytest.raises(RatatoskrError, match=r"a receipt with bit \d+ changed was accepted"):
        run(tell(tmp_path, None))


def test_amounts_are_shown_as_people_write_them() -> None:
    assert Amount("EUR", 123_456).digits == "1,234.56"
