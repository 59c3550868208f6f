import asyncio

from ratatoskr import Fail, Role, Status
from ratatoskr.service import Call, Router
from ratatoskr_files import Config
from ratatoskr_websockets import serve

from .kinds import REDEEM
from .loyalty_pb2 import Redeem, Redeemed

VOUCHERS = {"SPRING": 50}


def loyalty(points: dict[str, int]) -> Router:
    """The handlers of a loyalty programme; ``points`` are those of each subject."""
    router = Router()

    @router.on(REDEEM, roles={Role.DEVICE})
    async def redeem(message: Redeem, call: Call) -> Redeemed:
        worth = VOUCHERS.get(message.voucher)
        if worth is None:
            raise Fail(Status.NOT_FOUND, "VOUCHER_UNKNOWN", f"there is no voucher {message.voucher!r}")
        subject = call.peer.subject
        points[subject] = points.get(subject, 0) + worth
        return Redeemed(points=points[subject])

    return router


async def main() -> None:
    """Serve until a signal comes."""
    async with serve(loyalty({}), Config.load("dev/server.toml"), port=8765) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
