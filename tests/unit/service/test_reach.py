"""Reaching others: who is connected by which name, and how much time there is to ask them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import CallRefused, Disposition, LocalProtocolError, Status
from ratatoskr.service import Call, Caller, Directory, PeerLink, Router
from tests.unit.service.lines import COUNT, Lines
from tests.unit.service.support import (
    DEVICE,
    NOTE,
    OTHER_DEVICE,
    PROVIDER,
    Link,
    World,
    ask,
    echo_router,
    request,
    run,
    say,
)

ELSEWHERE = replace(DEVICE, tenant="acme")


# The directory


def names(directory: Directory[Link], *peers: Any) -> list[Link | None]:
    return [directory.find(peer.subject, peer.tenant) for peer in peers]


def test_who_has_entered_is_found_by_name_and_tenant() -> None:
    directory: Directory[Link] = Directory()
    links = [Link(peer) for peer in (DEVICE, ELSEWHERE, PROVIDER)]
    for link in links:
        directory.enter(link)
    assert names(directory, DEVICE, ELSEWHERE, PROVIDER) == links
    assert directory.reach("device-1") is links[0]
    assert directory.reach("device-1", "acme") is links[1]
    assert directory.find("device-2") is None
    assert directory.find("device-1", "other") is None


def test_the_latest_of_a_name_is_found_and_then_the_one_before() -> None:
    directory: Directory[Link] = Directory()
    first, second, third = (Link(DEVICE) for _ in range(3))
    for link in (first, second, third):
        directory.enter(link)
    assert directory.find("device-1") is third
    directory.leave(second)
    assert directory.find("device-1") is third
    directory.leave(third)
    assert directory.find("device-1") is first
    directory.leave(first)
    assert directory.find("device-1") is None
    assert directory._present == {}, "a name that nobody has is forgotten"


def test_who_never_entered_leaves_nothing() -> None:
    directory: Directory[Link] = Directory()
    there = Link(DEVICE)
    directory.enter(there)
    for link in (Link(DEVICE), Link(OTHER_DEVICE)):
        directory.leave(link)
    assert directory.find("device-1") is there
    directory.leave(there)
    directory.leave(there)
    assert directory.find("device-1") is None


def test_who_is_not_connected_is_surely_not_asked() -> None:
    directory: Directory[Link] = Directory()
    directory.enter(Link(DEVICE))
    with pytest.raises(CallRefused, match="NOT_CONNECTED: device-2 is not connected here") as caught:
        directory.reach("device-2")
    assert caught.value.failure.status is Status.UNAVAILABLE
    assert caught.value.failure.disposition is Disposition.NOT_PROCESSED


# The time that is left


@dataclass(eq=False)
class Scene:
    """A call of a device that waits 10 seconds, on a server where a provider is connected too."""

    world: World
    caller: Link
    provider: Link
    call: Call


@pytest.fixture
def scene() -> Scene:
    world, caller, provider = World(), Link(DEVICE), Link(PROVIDER)
    directory: Directory[PeerLink] = Directory()
    for link in (caller, provider):
        directory.enter(link)
    return Scene(world, caller, provider, Call(world, caller, request(NOTE, ask(), timeout=10.0), directory))


def options_of(link: Link) -> dict[str, Any]:
    return link.asked[-1][2]


class Reply:
    message = say("")


async def asked(caller: Caller, link: Link, **options: Any) -> dict[str, Any]:
    link.replies.append(Reply())  # type: ignore[arg-type]
    await caller.request(NOTE, ask(), **options)
    return options_of(link)


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ({}, 10.0),
        ({"timeout": None}, 10.0),
        ({"timeout": 3.0}, 3.0),
        ({"timeout": 10.0}, 10.0),
        ({"timeout": 60}, 10.0),
    ],
)
def test_what_a_handler_asks_gets_no_more_time_than_its_caller_waits(
    scene: Scene, given: dict[str, Any], passed: float
) -> None:
    assert run(asked(scene.call, scene.caller, **given)) == {"timeout": passed}
    assert run(asked(scene.call.reach("provider-1"), scene.provider, **given)) == {"timeout": passed}


def test_the_time_that_has_passed_is_gone(scene: Scene) -> None:
    scene.world.clock.advance(7.5)
    reached = scene.call.reach("provider-1")
    assert run(asked(reached, scene.provider)) == {"timeout": 2.5}
    scene.world.clock.advance(1.5)
    assert run(asked(reached, scene.provider, timeout=2.0)) == {"timeout": 1.0}
    assert run(asked(scene.call, scene.caller, timeout=0.5)) == {"timeout": 0.5}


def test_the_other_options_are_passed_on(scene: Scene) -> None:
    options: dict[str, Any] = {"key": "k", "expires_at": 9.0, "metadata": {"a": "b"}}
    assert run(asked(scene.call.reach("provider-1"), scene.provider, **options)) == {**options, "timeout": 10.0}


@pytest.mark.parametrize("late", [10.0, 11.0])
def test_who_has_no_time_left_asks_nobody(scene: Scene, late: float) -> None:
    scene.world.clock.advance(late)
    for caller in (scene.call, scene.call.reach("provider-1")):
        with pytest.raises(CallRefused, match="NO_TIME_LEFT") as caught:
            run(caller.request(NOTE, ask()))
        assert caught.value.failure.status is Status.DEADLINE_EXCEEDED
        assert caught.value.failure.disposition is Disposition.NOT_PROCESSED
        with pytest.raises(CallRefused, match="NO_TIME_LEFT"):
            caller.stream(COUNT, ask(), timeout=5.0)
    assert scene.caller.asked == scene.provider.asked == []


def test_the_latest_of_that_name_and_tenant_is_reached(scene: Scene) -> None:
    with pytest.raises(CallRefused, match="NOT_CONNECTED"):
        scene.call.reach("provider-1", tenant="acme")
    with pytest.raises(CallRefused, match="NOT_CONNECTED"):
        scene.call.reach("provider-2")


def test_only_a_server_knows_others() -> None:
    call = Call(World(), Link(), request(NOTE, ask()))
    with pytest.raises(LocalProtocolError, match="only a server's handlers reach other peers"):
        call.reach("provider-1")


# Over a line


def test_a_handler_reaches_a_peer_and_fails_in_its_own_words() -> None:
    """That nobody is there does not become this call's failure by itself."""
    router = Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        return await call.reach(message.query).request(NOTE, ask(f"{message.query} {call.remaining():.0f}"))

    lines = Lines(router, answers=echo_router())
    exchange = lines.ask(lines.client.calls.exchange(NOTE, ask("device-1"), timeout=7.0))
    assert exchange.message == say("device-1 7")
    with pytest.raises(Exception, match="INTERNAL: internal error"):
        lines.ask(lines.client.calls.exchange(NOTE, ask("device-2")))
    assert lines.host.logged == ["handler.call"]
    assert lines.at_rest()


def test_a_stream_that_a_handler_asks_for_ends_with_its_call() -> None:
    """The device waits 5 seconds; what it is asked back brings no end."""
    router, phone, ended = Router(), Router(), list[str]()

    @phone.on(COUNT)
    async def endless(message: v1.Search, call: Call) -> Any:
        ended.append(f"{call.remaining():.0f}")
        yield say("1")
        await lines.host.sleep(3600)

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        async with call.stream(COUNT, ask(), timeout=60.0) as items:
            async for item in items:
                ended.append(item.reason)
        raise AssertionError

    lines = Lines(router, answers=phone)
    strand = lines.client.start(lines.client.calls.exchange(NOTE, ask(), timeout=5.0))
    lines.run(4.9)
    assert ended == ["5", "1"]
    assert not strand.is_over()
    lines.run(0.2)
    assert strand.is_over()
    assert lines.at_rest()
