import asyncio

from ratatoskr import PAYMENT_AUTHORIZE, v1
from ratatoskr_files import Config
from ratatoskr_websockets import connect


async def main() -> None:
    payment = v1.AuthorizePayment(
        end_to_end_id="order-17",
        debtor_account="buyer-1",
        creditor_account="shop-7",
        amount=v1.Money(currency="EUR", units=129),
    )
    async with connect("ws://localhost:8765", Config.load("dev/device.toml")) as server:
        answer = await server.exchange(PAYMENT_AUTHORIZE, payment)
        receipt = await server.receipt(answer)
    receipt.verify(server.peer.verify_key)
    print(
        answer.message.payment_id, "repeated" if answer.replayed else "executed", "and signed by", server.peer.subject
    )


asyncio.run(main())
