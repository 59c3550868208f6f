"""A server that is killed between claim and outcome: the next one recovers its payments by itself."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from ratatoskr import PAYMENT_AUTHORIZE, PAYMENT_CAPTURE, OutcomeUnknown, v1
from ratatoskr.service import Exchange
from ratatoskr_cli.client import KINDS
from ratatoskr_files import Config, dev_init
from ratatoskr_sandbox import ledger
from ratatoskr_sandbox.database import Party, reading
from ratatoskr_sandbox.platform import wallet_of
from ratatoskr_websockets import Peer, connect
from tests.docs.shell import free_port
from tests.scenarios.drain.servers import ServerProcess
from tests.scenarios.recovery.server import DATABASE
from tests.unit.sandbox.books import authorization, capture_of

SECONDS = 60.0
"""It does not take that long, unless something hangs."""
CENTS = 1_00


class World:
    """A sandbox that is killed and started again, and a device that pays there."""

    def __init__(self, home: Path) -> None:
        dev_init(home / "dev", now=time.time())
        self.home = home
        self.port = free_port()
        self.device = Config.load(home / "dev/device.toml", kinds=KINDS)
        certificate = self.device.identity.certificate
        self.wallet = wallet_of(Party(certificate.tenant, certificate.subject))

    def server(self, where: str) -> ServerProcess:
        return ServerProcess(self.home, self.port, "tests.scenarios.recovery.server", where)

    async def pay(self, peer: Peer, number: int) -> Exchange[v1.PaymentAuthorized]:
        request = authorization(self.wallet, CENTS, id=f"e2e-{number}", creditor="house")
        return await peer.exchange(PAYMENT_AUTHORIZE, request, timeout=30.0)

    async def killed(self, where: str, payments: int) -> None:
        """A server dies while it executes so many payments."""
        server = self.server(where)
        await server.start()
        try:
            async with connect(server.url, self.device, proxy=None) as peer:
                asked = [asyncio.create_task(self.pay(peer, number)) for number in range(payments)]
                await server.says("stands still: " + ("1" if where == "effect" else str(payments)))
                await server.kill()
                ends = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(end, OutcomeUnknown) for end in ends), ends
        finally:
            await server.kill()

    def problems(self) -> list[str]:
        with reading(self.home / DATABASE, 0) as work:
            return ledger.audit(work)

    def balance(self) -> ledger.Balance:
        with reading(self.home / DATABASE, 0) as work:
            return ledger.balance_of(work, self.wallet, "EUR")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(("where", "payments"), [("claimed", 8), ("effect", 3)])
def test_the_next_server_recovers_what_a_killed_one_was_executing(world: World, where: str, payments: int) -> None:
    async def main() -> None:
        await world.killed(where, payments)
        assert world.problems() == []
        server = world.server("nowhere")
        await server.start()
        try:
            async with connect(server.url, world.device, proxy=None) as peer:
                first = await asyncio.gather(*(world.pay(peer, number) for number in range(payments)))
                again = await asyncio.gather(*(world.pay(peer, number) for number in range(payments)))
                assert [each.message for each in first] == [each.message for each in again]
                assert all(each.replayed for each in again)
                assert len({each.message.payment_id for each in first}) == payments
                for number, each in enumerate(first):
                    capture = capture_of(each.message.payment_id, CENTS, id=f"c-{number}")
                    await peer.request(PAYMENT_CAPTURE, capture)
            recovered = sum("once.recovered" in line for line in server.log)
            assert recovered == payments if where == "claimed" else 1 <= recovered <= payments
            assert await server.terminate() == 0
        finally:
            await server.kill()

    asyncio.run(asyncio.wait_for(main(), SECONDS))
    assert world.problems() == []
    balance = world.balance()
    assert (balance.booked.minor, balance.held.minor) == (100_000 - payments * CENTS, 0)


def test_a_sandbox_that_declares_no_recovery_leaves_a_doubt(world: World) -> None:
    async def main() -> None:
        await world.killed("claimed", 1)
        server = world.server("unsworn")
        await server.start()
        try:
            async with connect(server.url, world.device, proxy=None) as peer:
                with pytest.raises(OutcomeUnknown, match="OUTCOME_UNKNOWN"):
                    await world.pay(peer, 0)
        finally:
            await server.kill()

    asyncio.run(asyncio.wait_for(main(), SECONDS))
    assert world.problems() == []
