import asyncio
import time

import pytest

from ratatoskr import STANDARD_KINDS, CallFailed
from ratatoskr.testing import Authority
from ratatoskr_websockets import connect, serve

from .kinds import REDEEM
from .loyalty_pb2 import Redeem
from .server import loyalty


def test_a_voucher_is_redeemed_once() -> None:
    points: dict[str, int] = {}
    authority = Authority(now=time.time())
    device = authority.client_config(kinds=STANDARD_KINDS | [REDEEM])

    async def redeem_twice() -> None:
        async with (
            serve(loyalty(points), authority.server_config("localhost")) as server,
            connect(f"ws://localhost:{server.port}", device) as peer,
        ):
            for _ in range(2):
                redeemed = await peer.request(REDEEM, Redeem(redemption_id="redemption-1", voucher="SPRING"))
                assert redeemed.points == 50
            with pytest.raises(CallFailed, match="VOUCHER_UNKNOWN"):
                await peer.request(REDEEM, Redeem(redemption_id="redemption-2", voucher="AUTUMN"))

    asyncio.run(redeem_twice())
    assert points == {"device-1": 50}
