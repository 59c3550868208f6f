import pytest

from ratatoskr import CallFailed, CallRefused, Role
from ratatoskr.testing import local_client, run

from .kinds import REDEEM
from .loyalty_pb2 import Redeem
from .server import loyalty

SPRING = Redeem(redemption_id="redemption-1", voucher="SPRING")
AUTUMN = Redeem(redemption_id="redemption-2", voucher="AUTUMN")


def test_a_voucher_is_redeemed_once() -> None:
    points: dict[str, int] = {}
    with local_client(loyalty(points)) as device:
        for repeated in (False, True):
            answer = run(device.exchange(REDEEM, SPRING))
            assert (answer.message.points, answer.replayed) == (50, repeated)
    assert points == {"device-1": 50}


def test_a_voucher_that_does_not_exist() -> None:
    with local_client(loyalty({})) as device, pytest.raises(CallFailed, match="VOUCHER_UNKNOWN"):
        run(device.request(REDEEM, AUTUMN))


def test_only_devices_redeem() -> None:
    with local_client(loyalty({}), role=Role.PROVIDER) as provider, pytest.raises(CallRefused, match="ROLE_DENIED"):
        run(provider.request(REDEEM, SPRING))
