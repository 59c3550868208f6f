"""What happens in the demo: a sale, calls that are cancelled or asked again, a refund; and everything is checked.

Balances come from sealed statements of both parties, and where the sandbox's file is at hand from its books too.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from ratatoskr import (
    MARKETPLACE_BROWSE,
    MARKETPLACE_ORDER,
    MARKETPLACE_PUBLISH,
    MARKETPLACE_SEARCH,
    PAYMENT_AUTHORIZE,
    PAYMENT_CAPTURE,
    PAYMENT_REFUND,
    PROVIDER_REGISTER,
    AnyKind,
    CallError,
    Receipt,
    ReceiptRefused,
    v1,
)
from ratatoskr_cli.client import Target
from ratatoskr_cli.cut import cut_off
from ratatoskr_cli.payloads import payload_to_json
from ratatoskr_cli.proof import ZERO, CheckFailed, Customer, Standing, check, connected
from ratatoskr_cli.receipts import ReceiptFile
from ratatoskr_cli.report import Report
from ratatoskr_sandbox import SANDBOX_ACTIVITY, Amount, GetActivity, audit, balance_of, reading

LAMPS = 40
CHOSEN = 17
"""The number of the lamp that the device buys."""
PRICE = Amount("EUR", 39_00)
"""What it costs; each lamp costs 1.00 more than the one before."""
ENOUGH = 3
"""So many lamps the device looks at before it leaves."""
CREDIT = 8
"""So many it lets come at first: more only when it has looked at half of them."""
PIECES = 2
TOTAL = Amount("EUR", PIECES * PRICE.minor)
MORE = Amount("EUR", TOTAL.minor + 1_00)
STOCK = 10
RESTART_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment that was authorized."""

    request: v1.AuthorizePayment
    answer: v1.PaymentAuthorized
    proof: ReceiptFile


class Story:
    """The business between a device and a provider. ``database``: the sandbox's file, where it is at hand.

    Nobody else may move this device's and this provider's money meanwhile.
    """

    def __init__(self, device: Target, provider: Target, report: Report, database: Path | None) -> None:
        self._device = device
        self._provider = provider
        self._report = report
        self._database = database
        self._buyer = device.config.identity.certificate.subject
        self._seller = provider.config.identity.certificate.subject
        self._run = os.urandom(4).hex()  # in every business key, so that each demo does business of its own
        self._before = Standing(ZERO, ZERO), Standing(ZERO, ZERO)
        self.receipts = 0
        """How many were verified."""

    async def play(self) -> None:
        """All of it. Raises CheckFailed, CallError or ConnectFailed."""
        self._report.doing(f"{self._buyer} and {self._seller} connect")
        async with connected(self._provider) as provider:
            async with connected(self._device) as device:
                self._report.step("encrypted", "certificates and signatures, both ways")
                provider_id = await self._open_shop(provider)
                await self._browse(device, provider_id)
                await self._leave_early(device, provider, provider_id)
                order = await self._order(device, await self._search(device, provider_id))
                paid = await self._pay(device, provider, order)
                await self._capture(device, provider, paid)
            async with connected(self._device) as restarted:
                await self._pay_again(restarted, provider, paid)
                await self._pay_more(restarted, provider, paid)
                await self._refund(restarted, provider, paid)
                self._change_a_receipt(restarted, paid)
                await self._close_the_books(restarted, provider)
        self.receipts += device.receipts + restarted.receipts + provider.receipts

    async def _open_shop(self, provider: Customer) -> str:
        """Register, and publish offers, all of them at the same time; the provider's id."""
        self._report.doing(f"{self._seller} registers")
        extract = b"An extract of the register of companies."
        registration = v1.RegisterProvider(
            registration_id=f"demo-{self._run}",
            legal_name="Demo Lamps",
            country="DE",
            subject=self._seller,
            payout_account=f"payout:{sha256(self._seller.encode()).hexdigest()[:20]}",
            documents=[
                v1.Document(
                    kind=v1.DOCUMENT_KIND_REGISTER_EXTRACT,
                    media_type="text/plain",
                    sha256=sha256(extract).digest(),
                    size_bytes=len(extract),
                )
            ],
        )
        registered = await provider.ask(PROVIDER_REGISTER, registration)
        check(registered.status == v1.PROVIDER_STATUS_ACTIVE, "the registration is not active")
        self._report.step(registered.provider_id, "receipt")

        self._report.doing(f"{self._seller} publishes {LAMPS} lamps")
        published = count(1)

        async def publish(number: int) -> None:
            await provider.ask(MARKETPLACE_PUBLISH, self._lamp(number))
            self._report.progress(f"{next(published)} of {LAMPS}")

        await asyncio.gather(*map(publish, range(1, LAMPS + 1)))
        self._report.step(f"{LAMPS} calls at once", f"{LAMPS} receipts")
        return registered.provider_id

    def _lamp(self, number: int) -> v1.PublishOffer:
        return v1.PublishOffer(
            publication_id=f"demo-{self._run}-{number}",
            offer_id=f"demo-lamp-{number}",
            title=f"Demo lamp {number}",
            description="It shines for the length of a demo.",
            category="light",
            price=Amount("EUR", PRICE.minor + (number - CHOSEN) * 100).to_money(),
            stock=STOCK,
        )

    async def _browse(self, device: Customer, provider_id: str) -> None:
        """All lamps, as the items of a stream."""
        self._report.doing(f"{self._buyer} browses {LAMPS} lamps")
        began = ended = time.monotonic()
        browse = v1.Browse(query="demo lamp", filters=[_only(provider_id)])
        found: list[str] = []
        async with aclosing(device.items(MARKETPLACE_BROWSE, browse)) as items:
            async for item in items:
                found.append(item.offer.offer_id)
                check((item.found, item.total) == (len(found), LAMPS), f"a lamp is number {item.found} of {item.total}")
                ended = time.monotonic()
                self._report.progress(f"{item.found} of {item.total}")
        lamps = {f"demo-lamp-{number}" for number in range(1, LAMPS + 1)}
        check(len(found) == LAMPS and set(found) == lamps, "the browse did not find every lamp once")
        self._report.step(f"streamed in {(ended - began) * 1000:.0f} ms", f"{LAMPS} receipts, sealed after delivery")

    async def _leave_early(self, device: Customer, provider: Customer, provider_id: str) -> None:
        """The beginning of the same stream; the server's word that it stopped then."""
        self._report.doing(f"{self._buyer} leaves after {ENOUGH} of {LAMPS}")
        browse = v1.Browse(query="demo lamp", filters=[_only(provider_id)])
        async with aclosing(device.items(MARKETPLACE_BROWSE, browse, credit=CREDIT)) as items:
            async for item in items:
                if item.found == ENOUGH:
                    break
        # What both have before they do business. When the answers are here, the cancel is long there.
        self._before = await device.standing(), await provider.standing()
        activity = await device.ask(SANDBOX_ACTIVITY, GetActivity())
        check(not activity.browses_running, "the server still works on a browse that was cancelled")
        check(
            ENOUGH <= activity.latest_sent < activity.latest_total == LAMPS,
            f"the server sent {activity.latest_sent} of {activity.latest_total} to somebody who left after {ENOUGH}",
        )
        self._report.step(f"server stopped at {activity.latest_sent}", "receipt, its handler has ended")

    async def _search(self, device: Customer, provider_id: str) -> v1.Offer:
        self._report.doing(f'{self._buyer} searches "demo lamp {CHOSEN}"')
        search = v1.Search(query=f"demo lamp {CHOSEN}", filters=[_only(provider_id)])
        found = await device.ask(MARKETPLACE_SEARCH, search)
        ids = [each.offer_id for each in found.offers]
        check(ids == [f"demo-lamp-{CHOSEN}"], f"the search found {ids or 'nothing'}")
        self._report.step(f"{PRICE}, {found.offers[0].stock} in stock", "receipt, sealed after delivery")
        return found.offers[0]

    async def _order(self, device: Customer, offer: v1.Offer) -> v1.OrderPlaced:
        self._report.doing(f"{self._buyer} orders {PIECES}")
        line = v1.OrderLine(offer_id=offer.offer_id, quantity=PIECES, unit_price=offer.price)
        order = await device.ask(
            MARKETPLACE_ORDER,
            v1.PlaceOrder(order_id=f"demo-{self._run}", provider_id=offer.provider_id, lines=[line]),
        )
        check(order.total == TOTAL.to_money(), "the order does not cost what its lines cost")
        self._report.step(order.order_number, f"receipt, total {TOTAL}")
        return order

    async def _pay(self, device: Customer, provider: Customer, order: v1.OrderPlaced) -> Paid:
        """The line is cut when it has been sent: its answer comes over another one, and it has happened once."""
        self._report.doing(f"{self._buyer} authorizes {TOTAL}, line cut")
        request = v1.AuthorizePayment(
            end_to_end_id=f"demo-{self._run}",
            debtor_account=device.account,
            creditor_account=order.creditor_account,
            amount=TOTAL.to_money(),
            order_number=order.order_number,
            remittance_text="Demo lamps",
        )
        async with cut_off(self._device, request.ByteSize()) as payer:
            answer = await payer.ask(PAYMENT_AUTHORIZE, request)
        self.receipts += payer.receipts
        paid = Paid(request, answer, payer.proof)
        balances = await self._balances(device, provider, held=TOTAL)
        self._report.step(f"{answer.payment_id}, resumed", "one receipt", balances)
        return paid

    async def _capture(self, device: Customer, provider: Customer, paid: Paid) -> None:
        """Cancel it while it runs, which ends the waiting and not the capture. Asked again, it has happened once."""
        self._report.doing(f"{self._buyer} captures, cancels, asks again")
        capture = v1.CapturePayment(
            capture_id=f"demo-{self._run}", payment_id=paid.answer.payment_id, amount=TOTAL.to_money()
        )
        waiting = asyncio.create_task(device.peer.request(PAYMENT_CAPTURE, capture))
        try:
            await device.standing()  # payments begin first: when the answer is here the capture has begun
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        captured = await device.ask(PAYMENT_CAPTURE, capture)
        check(device.said.replayed, "a capture that was cancelled while it ran did not go on")
        balances = await self._balances(device, provider, moved=TOTAL)
        self._report.step(f"{captured.booking_reference}, replayed", "receipt", balances)

    async def _pay_again(self, device: Customer, provider: Customer, paid: Paid) -> None:
        """The same payment from another process, which knows nothing of this one."""
        self._report.doing(f"{self._buyer} restarts, asks again")
        again, proof = await self._in_another_process(PAYMENT_AUTHORIZE, paid.request)
        check(device.verify(proof).replayed, "the second answer's receipt does not say that it is a replay")
        check(again == payload_to_json(paid.answer), "the second answer is not the first one")
        balances = await self._balances(device, provider, moved=TOTAL)
        self._report.step(f"{paid.answer.payment_id}, replayed", "receipt", balances)

    async def _pay_more(self, device: Customer, provider: Customer, paid: Paid) -> None:
        """Another amount under the same business key."""
        self._report.doing(f"{self._buyer} asks for {MORE}, same key")
        request = v1.AuthorizePayment()
        request.CopyFrom(paid.request)
        request.amount.CopyFrom(MORE.to_money())
        try:
            await device.ask(PAYMENT_AUTHORIZE, request)
        except CallError as error:
            check(error.failure.reason == "CONFLICT", f"refused, but not as a conflict: {error}")
        else:
            raise CheckFailed("another amount under the same key was accepted")
        balances = await self._balances(device, provider, moved=TOTAL)
        self._report.step("refused: CONFLICT", balances)

    async def _refund(self, device: Customer, provider: Customer, paid: Paid) -> None:
        self._report.doing(f"{self._seller} refunds {TOTAL}")
        refund = v1.RefundPayment(
            refund_id=f"demo-{self._run}", payment_id=paid.answer.payment_id, amount=TOTAL.to_money()
        )
        refunded = await provider.ask(PAYMENT_REFUND, refund)
        check(refunded.status == v1.PAYMENT_STATUS_REFUNDED, "the payment is not refunded")
        self._report.step(refunded.booking_reference, "receipt", await self._balances(device, provider))

    def _change_a_receipt(self, device: Customer, paid: Paid) -> None:
        """One bit less or more, anywhere in the payment's receipt."""
        self._report.doing("one bit of a receipt is changed")
        data = paid.proof.receipt.to_bytes()
        for bit in range(8 * len(data)):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            try:
                device.verify(ReceiptFile(Receipt.from_bytes(bytes(changed)), paid.proof.chain))
            except (CheckFailed, ReceiptRefused):
                continue
            raise CheckFailed(f"a receipt with bit {bit} changed was accepted")
        self._report.step("refused", f"each of {8 * len(data):,} bits, one by one")

    async def _close_the_books(self, device: Customer, provider: Customer) -> None:
        """The whole ledger: by the server's word, and row by row where the file is at hand."""
        self._report.doing("the ledger")
        standings = await device.standing(), await provider.standing()
        if self._database is None:
            self._report.step("sums to zero", "the server's sealed word")
            return
        with reading(self._database, int(time.time() * 1000)) as work:
            problems = audit(work)
            booked = [balance_of(work, each.account, ZERO.currency).booked for each in (device, provider)]
        check(not problems, f"the ledger does not hold: {'; '.join(problems)}")
        check(booked == [each.booked for each in standings], "the sealed statements do not agree with the books")
        self._report.step("sums to zero", "audited row by row, statements agree")

    async def _balances(
        self, device: Customer, provider: Customer, *, moved: Amount = ZERO, held: Amount = ZERO
    ) -> str:
        """Check what both have, after so much has moved from one to the other since the beginning."""
        shown: list[str] = []
        for customer, before, change in zip((device, provider), self._before, (-moved.minor, moved.minor), strict=True):
            booked = Amount(ZERO.currency, before.booked.minor + change)
            expected = Standing(booked, held if customer is device else ZERO)
            found = await customer.standing()
            check(found == expected, f"{customer.account} has {found}; it should have {expected}")
            shown.append(f"{customer.role} {found}")
        return f"{', '.join(shown)} {ZERO.currency}"

    async def _in_another_process(self, kind: AnyKind, message: Message) -> tuple[dict[str, Any], ReceiptFile]:
        """The answer that `ratatoskr call` prints, and the receipt that it keeps."""
        target = self._device
        with tempfile.TemporaryDirectory(prefix="ratatoskr-demo-") as directory:
            receipt = Path(directory, "answer.receipt")
            command = [
                *(sys.executable, "-m", "ratatoskr_cli", "call", kind.name, "-"),
                *("--config", str(target.path), "--url", target.url, "--receipt", str(receipt)),
                *(("--server-name", target.server_name) if target.server_name else ()),
            ]
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
            question = json.dumps(payload_to_json(message)).encode()
            try:
                output, errors = await asyncio.wait_for(process.communicate(question), RESTART_SECONDS)
            finally:
                if process.returncode is None:
                    process.kill()
            if process.returncode:
                said = errors.decode(errors="replace").rpartition("ratatoskr: ")[2].strip()
                raise CheckFailed(f"the restarted client failed: {said or process.returncode}")
            return json.loads(output), ReceiptFile.load(receipt)


def _only(provider_id: str) -> v1.SearchFilter:
    return v1.SearchFilter(field=v1.FILTER_FIELD_PROVIDER_ID, values=[provider_id])
