"""Recovery: what a handler declares about executions whose process died before their outcome was stored.

::

    @router.on(PAYMENT_CAPTURE, recover=ATOMIC)
    async def capture(message: CapturePayment, call: Call) -> PaymentCaptured:
        transaction = await call.begin()  # whatever it does, it does here
        return await transaction.run(...)


    async def ask_the_bank(message: AuthorizePayment, call: Call) -> PaymentAuthorized:
        payment = await bank.find(call.nonce)
        if payment is None:
            raise NotExecuted
        return answer_for(payment)


    @router.on(PAYMENT_AUTHORIZE, recover=ask_the_bank)
    async def authorize(message: AuthorizePayment, call: Call) -> PaymentAuthorized:
        return answer_for(await bank.pay(message, key=call.nonce))
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, TypeVar

from google.protobuf.message import Message

from ratatoskr.errors import RatatoskrError
from ratatoskr.service.call import Call

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class Oath(Enum):
    """What a handler swears about its effect."""

    ATOMIC = "it happens in the transaction of call.begin() and nowhere else"


ATOMIC: Final = Oath.ATOMIC
"""The handler's effect happens in the transaction of ``call.begin()`` and nowhere else. So where no outcome is stored
there was no effect, and the request is executed again."""


class NotExecuted(RatatoskrError):
    """Raised by a recovery: the earlier execution had no effect and can have none any more. The handler is executed."""


RecoverFunction: TypeAlias = Callable[[Req, Call], Coroutine[Any, Any, Res]]
"""Finds out what became of an earlier execution: returns its answer, raises Fail for its failure, or NotExecuted."""
Recover: TypeAlias = Literal[Oath.ATOMIC] | RecoverFunction[Req, Res]
