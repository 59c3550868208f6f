"""A customer in the demo, who is connected and believes nothing without proof."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

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
        self._peer = peer
        self.role = "buyer" if target.config.identity.certificate.role is Role.DEVICE else "seller"
        self.account = ""
        """Known from the first statement on."""
        self.receipts = 0
        """How many were verified."""
        self.proof: ReceiptFile
        """The latest of them."""

    async def ask(self, kind: Kind[Req, Res], message: Req) -> Res:
        """The answer, proven. Raises CheckFailed, or CallError where there is none."""
        try:
            exchange = await self._peer.exchange(kind, message)
            receipt = await self._peer.receipt(exchange)
        except CallError as error:
            if error.failure.reason == "TIMEOUT":
                raise CheckFailed(
                    f"{error.failure.message}: the server hangs, or bytes were held back or changed on the way"
                ) from None
            if error.failure.reason not in Fault.__members__:
                raise
            raise CheckFailed(broken(await self._peer.close(drain=False))) from None
        except ReceiptRefused:
            raise CheckFailed(broken(await self._peer.close(drain=False))) from None
        response = self.verify(ReceiptFile(receipt, (self._peer.peer.certificate,)))
        check(receipt.session_id == self._peer.session_id, "the receipt is of another session")
        check(kind.response.FromString(response.payload) == exchange.message, "the receipt is for another answer")
        return exchange.message

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
        self.proof = copy
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
