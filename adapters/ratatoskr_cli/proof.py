"""A customer in the demo, who is connected and believes nothing without proof."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from ratatoskr import (
    CallError,
    CertificateRefused,
    Closed,
    Fault,
    Kind,
    RatatoskrResponse,
    Receipt,
    ReceiptRefused,
    Role,
)
from ratatoskr.service import Exchange
from ratatoskr_cli.client import Target
from ratatoskr_cli.exits import Failed
from ratatoskr_cli.receipts import ReceiptFile
from ratatoskr_sandbox import SANDBOX_STATEMENT, Amount, GetStatement, amount_of
from ratatoskr_websockets import ConnectFailed, Peer

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)

ZERO = Amount("EUR", 0)


class CheckFailed(Failed):
    """A check of the demo did not hold; the text says which."""


def check(holds: object, otherwise: str) -> None:
    """Raise CheckFailed unless it holds."""
    if not holds:
        raise CheckFailed(otherwise)


@dataclass(frozen=True, slots=True)
class Standing:
    """What lies on an account, and how much of it is held."""

    booked: Amount
    held: Amount

    def __str__(self) -> str:
        return f"{self.booked.digits} ({self.held.digits} held)" if self.held.minor else self.booked.digits


class Customer:
    """A device or a provider. Every answer that it takes has a receipt that verifies offline."""

    def __init__(self, target: Target, peer: Peer) -> None:
        self._target = target
        self.peer = peer
        self.role = "buyer" if target.config.identity.certificate.role is Role.DEVICE else "seller"
        self.account = ""
        """Known from the first statement on."""
        self.receipts = 0
        """How many were verified."""
        self.proof: ReceiptFile
        """The latest of them."""
        self.said: RatatoskrResponse
        """What that one proves."""

    async def ask(self, kind: Kind[Req, Res], message: Req) -> Res:
        """The answer, proven. Raises CheckFailed, or CallError where there is none."""
        try:
            exchange = await self.peer.exchange(kind, message)
        except CallError as error:
            await self._blame(error)
            raise
        await self._prove(exchange)
        return exchange.message

    async def items(
        self, kind: Kind[Req, Res], message: Req, *, credit: int | None = None
    ) -> AsyncGenerator[Res, None]:
        """The items of a stream as they come. After the last each of them is proven. Raises as :meth:`ask` does."""
        items: list[Exchange[Res]] = []
        try:
            async with self.peer.stream(kind, message, credit=credit) as stream:
                async for item in stream:
                    assert stream.evidence is not None
                    items.append(Exchange(item, kind, replayed=False, evidence=stream.evidence))
                    yield item
        except CallError as error:
            await self._blame(error)
            raise
        for each in items:
            await self._prove(each)

    async def _blame(self, error: CallError) -> None:
        """Raise CheckFailed where a call failed because of what is between the two ends."""
        if error.failure.reason == "TIMEOUT":
            raise CheckFailed(
                f"{error.failure.message}: the server hangs, or bytes were held back or changed on the way"
            ) from None
        if error.failure.reason in Fault.__members__:
            raise CheckFailed(broken(await self.peer.close(drain=False))) from None

    async def _prove(self, exchange: Exchange[Any]) -> None:
        """Verify the receipt of an answer, as soon as there is one."""
        try:
            receipt = await self.peer.receipt(exchange)
        except ReceiptRefused:
            raise CheckFailed(broken(await self.peer.close(drain=False))) from None
        response = self.verify(ReceiptFile(receipt, (self.peer.peer.certificate,)))
        check(receipt.session_id == self.peer.session_id, "the receipt is of another session")
        said = exchange.kind.response.FromString(response.payload)
        check(said == exchange.message, "the receipt is for another answer")

    def verify(self, proof: ReceiptFile) -> RatatoskrResponse:
        """What a receipt proves that the server said to this customer. Raises CheckFailed where it proves nothing."""
        # From its bytes, as whoever is handed the file would.
        copy = ReceiptFile(Receipt.from_bytes(proof.receipt.to_bytes()), proof.chain)
        try:
            copy.verify(self._target.config.trust)
        except (ReceiptRefused, CertificateRefused) as refused:
            raise CheckFailed(f"a receipt does not verify: {refused}") from None
        check(copy.receipt.recipient == self._target.config.identity.kid, "the receipt is for somebody else")
        message = copy.receipt.message
        if not isinstance(message, RatatoskrResponse):
            raise CheckFailed("the receipt is of a request, not of an answer")
        self.receipts += 1
        self.proof, self.said = copy, message
        return message

    async def standing(self) -> Standing:
        """What lies on this customer's account, as a sealed statement says. Checks the sums of the whole ledger."""
        statement = await self.ask(SANDBOX_STATEMENT, GetStatement(account=self.account))
        self.account = statement.account
        sums = [amount_of(each) for each in statement.ledger_sums]
        check(not any(each.minor for each in sums), f"the ledger sums to {', '.join(map(str, sums))}, not to zero")
        for each in statement.balances:
            if each.booked.currency == ZERO.currency:
                return Standing(amount_of(each.booked), amount_of(each.held))
        return Standing(ZERO, ZERO)


@asynccontextmanager
async def connected(target: Target) -> AsyncGenerator[Customer]:
    """A customer for the time of a block. Raises CheckFailed where the connection does not hold to its end."""
    try:
        async with target.connect() as peer:
            yield Customer(target, peer)
            closed = await peer.close()
    except ConnectFailed as failed:
        if failed.__cause__ is not None:
            raise  # nobody answered; the text says so
        raise CheckFailed(
            f"no authenticated connection: {str(failed).rstrip('.')}. "
            "If both ends are who they should be, bytes were changed on the way"
        ) from None
    check(closed.clean, broken(closed))


def broken(closed: Closed) -> str:
    """What to say of a connection that ended before both sides had said all."""
    return (
        f"the connection was tampered with or cut on the way: {closed.fault.meaning}"
        f" [{closed.fault.name}: {closed.detail}]. Nothing that came after was believed"
    )
