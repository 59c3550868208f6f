"""local_client with calls at once, calls given up, and a line with faults."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import CallRefused, LocalProtocolError, OutcomeUnknown
from ratatoskr.limits import Limits
from ratatoskr.service import Call, Router
from ratatoskr.testing import local_client, run
from tests.unit.testing.shop import NOTE, REDEEM, ask, shop


def test_more_calls_than_slots_go_one_after_the_other() -> None:
    """The slot of each is free when its answer is acknowledged: virtual time passes for that, and nothing else."""
    with local_client(shop(), limits=Limits(requests_open=1)) as client:
        for number in range(5):
            assert run(client.request(NOTE, ask(str(number)))).reason.endswith(str(number))


def test_calls_at_once_share_the_line() -> None:
    router = Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        for _ in range(len(message.query)):
            await asyncio.sleep(0)
        return v1.GoAway(reason=message.query)

    async def main() -> list[str]:
        with local_client(router) as client:
            texts = ["long, so it ends last", "short", ""]
            answers = await asyncio.gather(*(client.request(NOTE, ask(text)) for text in texts))
            return [answer.reason for answer in answers]

    assert asyncio.run(main()) == ["long, so it ends last", "short", ""]


def test_a_call_that_waits_for_another_task_s_says_so() -> None:
    """The second asks the same, joins the first, and nobody could wake it."""
    router = Router()

    @router.on(REDEEM)
    async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
        await asyncio.sleep(0.01)
        return v1.GoAway(reason="done")

    async def main() -> list[Any]:
        with local_client(router) as client:
            calls = [client.request(REDEEM, ask(), key="k") for _ in range(2)]
            return await asyncio.gather(*calls, return_exceptions=True)

    first, second = asyncio.run(main())
    assert first.reason == "done"
    assert isinstance(second, LocalProtocolError)
    assert "one after the other" in str(second)


def test_who_gives_up_gets_nothing_later() -> None:
    """A call that was cancelled, whose answer comes to nobody."""
    router = Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        await asyncio.sleep(0)
        return v1.GoAway(reason=message.query)

    async def main() -> str:
        with local_client(router) as client:
            given_up = asyncio.create_task(client.request(NOTE, ask("first")))
            await asyncio.sleep(0)
            given_up.cancel()
            client.pair.run()
            return (await client.request(NOTE, ask("second"))).reason

    assert asyncio.run(main()) == "second"


def test_a_slow_line_costs_virtual_time_alone() -> None:
    with local_client(shop()) as client:
        client.pair.client.link.latency = client.pair.server.link.latency = 3.0
        run(client.request(NOTE, ask()))
        assert client.clock.now.mono == 6.0


def test_a_call_that_nobody_hears_times_out() -> None:
    with local_client(shop()) as client:
        client.pair.client.link.lost = True
        with pytest.raises(OutcomeUnknown, match="TIMEOUT"):
            run(client.request(NOTE, ask(), timeout=7.0))
        assert client.clock.now.mono == 7.0


def test_a_cut_line_is_seen_by_the_caller() -> None:
    """The faults of the link are there to be used."""
    router = Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        client.pair.cut()
        return v1.GoAway()

    client = local_client(router)
    with pytest.raises(OutcomeUnknown):
        run(client.request(NOTE, ask()))
    client.close()
    with pytest.raises(CallRefused, match="connect again"):
        run(client.request(NOTE, ask()))


def test_leaving_the_block_says_goodbye() -> None:
    with local_client(shop()) as client:
        pass
    client.close()
    assert client.clock.now.mono < 2.0
    for end in (client.pair.client, client.pair.server):
        assert end.closed is not None
        assert end.closed.clean
