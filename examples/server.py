import asyncio

from ratatoskr import PAYMENT_AUTHORIZE, v1
from ratatoskr.service import Call, Router
from ratatoskr_files import Config
from ratatoskr_websockets import serve

router = Router()


@router.on(PAYMENT_AUTHORIZE)
async def authorize(message: v1.AuthorizePayment, call: Call) -> v1.PaymentAuthorized:
    print(f"{call.peer.subject} pays {message.amount.units} {message.amount.currency}", flush=True)
    return v1.PaymentAuthorized(
        payment_id="payment-1",
        end_to_end_id=message.end_to_end_id,
        status=v1.PAYMENT_STATUS_AUTHORIZED,
        amount=message.amount,
        authorized_until_ms=int(call.issued_at + 3600) * 1000,
    )


async def main() -> None:
    async with serve(router, Config.load("dev/server.toml"), port=8765) as server:
        await server.serve_forever()


asyncio.run(main())
