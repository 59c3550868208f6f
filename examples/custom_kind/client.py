import asyncio

from ratatoskr import STANDARD_KINDS, CallFailed
from ratatoskr_files import Config
from ratatoskr_websockets import connect

from .kinds import REDEEM
from .loyalty_pb2 import Redeem


async def main() -> None:
    """Redeem a voucher twice under one key, and then one that does not exist."""
    config = Config.load("dev/device.toml", kinds=STANDARD_KINDS | [REDEEM])
    async with connect("ws://localhost:8765", config) as server:
        for _ in range(2):
            answer = await server.exchange(REDEEM, Redeem(redemption_id="redemption-1", voucher="SPRING"))
            print(answer.message.points, "points (repeated)" if answer.replayed else "points")
        try:
            await server.request(REDEEM, Redeem(redemption_id="redemption-2", voucher="AUTUMN"))
        except CallFailed as error:
            print(error)


if __name__ == "__main__":
    asyncio.run(main())
