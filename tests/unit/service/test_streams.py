"""Streams, as their handler and the service see them: what may be yielded, how it ends, what is around it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import CallFailed, Disposition, Fail, Failure, LocalProtocolError, Status
from ratatoskr.events import RequestId
from ratatoskr.identity import Role
from ratatoskr.messages.standard import MARKETPLACE_BROWSE
from ratatoskr.service import Call, Level, Next, Router, Service
from ratatoskr.service.dispatch import ITEMS_AT_ONCE
from tests.unit.service.lines import COUNT
from tests.unit.service.support import (
    NOTE,
    PROVIDER,
    REDEEM,
    Cancelled,
    Gate,
    Link,
    Task,
    World,
    ask,
    echo_router,
    failure_of,
    request,
    run,
    say,
)


async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
    for n in range(int(message.query)):
        yield say(str(n))


def counting() -> Router:
    router = Router()
    router.on(COUNT)(count)
    return router


def numbers(count: int) -> list[v1.GoAway]:
    return [say(str(n)) for n in range(count)]


class Sent:
    """A stream that was served to a link that remembers."""

    def __init__(self, router: Router, text: str = "3", *, kind: Any = COUNT, message: Any = None, **peer: Any) -> None:
        self.world = World()
        self.link = Link(**peer)
        self.event = request(kind, message or ask(text))
        job = Service(router, host=self.world).job(self.link, self.event)
        assert not job.once
        run(job.run())

    @property
    def items(self) -> list[Any]:
        return self.link.items.get(self.event.id, [])

    @property
    def ended(self) -> bool:
        """Whether it came to its end, and to no failure."""
        return self.link.ended == [self.event.id] and not self.link.told

    @property
    def failure(self) -> Failure:
        assert self.link.ended == []
        return failure_of(self.link, self.event)


@pytest.mark.parametrize("length", [0, 1, 3, 100])
def test_what_a_handler_yields_is_sent_and_then_the_end(length: int) -> None:
    sent = Sent(counting(), str(length))
    assert sent.items == numbers(length)
    assert sent.ended
    assert sent.world.notes == []


def test_a_handler_ends_the_stream_with_a_failure() -> None:
    router = Router()
    error = Fail(Status.OUT_OF_RANGE, "NO_MORE", "that is all", retry_delay=1.0)

    @router.on(COUNT)
    async def short(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        yield say("0")
        raise error

    sent = Sent(router)
    assert sent.items == numbers(1)
    assert sent.failure == error.failure
    assert sent.world.notes == []


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (ValueError("a secret"), "handler.error"),
        (CallFailed(Failure(Status.NOT_FOUND, "THEIRS", "a secret")), "handler.call"),
    ],
)
def test_what_a_handler_did_not_mean_ends_the_stream_and_stays_in_the_log(error: Exception, event: str) -> None:
    router = Router()

    @router.on(COUNT)
    async def broken(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        yield say("0")
        yield say("1")
        raise error

    sent = Sent(router)
    assert sent.items == numbers(2)
    [note] = sent.world.notes
    assert (note.level, note.event, note.error) == (Level.ERROR, event, error)
    assert (sent.failure.status, sent.failure.disposition) == (Status.INTERNAL, Disposition.FAILED)
    assert sent.failure.message == f"internal error (ref {note.reference})"


def test_an_item_of_another_class_is_our_fault_and_is_not_sent() -> None:
    router = Router()
    cleaned: list[str] = []

    @router.on(COUNT)
    async def confused(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        try:
            yield say("0")
            yield message  # type: ignore[misc]
            raise AssertionError("nothing goes on after that")
        finally:
            cleaned.append("up")

    sent = Sent(router)
    assert sent.items == numbers(1)
    assert sent.failure.status is Status.INTERNAL
    [note] = sent.world.notes
    assert note.event == "handler.answer"
    assert note.text.endswith("confused yielded a Search; it must yield a GoAway")
    assert cleaned == ["up"], "its generator was closed"


def test_an_item_that_the_peer_would_refuse_is_our_fault_and_is_not_sent() -> None:
    router = Router()
    price = v1.Money(currency="EUR", units=1)
    lamp = v1.Offer(offer_id="o-1", provider_id="p-1", title="Lamp", price=price)

    @router.on(MARKETPLACE_BROWSE)
    async def careless(message: v1.Browse, call: Call) -> AsyncGenerator[v1.OfferFound, None]:
        yield v1.OfferFound(offer=lamp, found=1, total=2)
        yield v1.OfferFound(offer=lamp, found=0, total=2)

    sent = Sent(router, kind=MARKETPLACE_BROWSE, message=v1.Browse())
    assert [each.found for each in sent.items] == [1]
    [note] = sent.world.notes
    assert "careless yielded an invalid OfferFound: found " in note.text
    assert sent.failure.status is Status.INTERNAL


def test_a_generator_is_closed_where_it_is_stopped() -> None:
    """At its ``yield``, and at what it awaits by itself."""
    router, gate, cleaned = Router(), Gate(), list[str]()

    @router.on(COUNT)
    async def slow(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        try:
            yield say("0")
            await gate
        finally:
            await call.request(NOTE, ask("goodbye"))
            cleaned.append("up")

    class Full(Link):
        """A line that has no room until the gate opens."""

        async def send(self, id: RequestId, item: Any) -> None:
            await gate

    goodbyes: list[Any] = []
    for link in (Link(), Full()):
        link.exchange = goodbye(goodbyes)  # type: ignore[method-assign]
        task = Task(Service(router, host=World()).job(link, request(COUNT, ask())).run())
        task.step()
        assert not task.done
        task.cancel()
        assert isinstance(task.error, Cancelled)
        assert link.told == {}
        assert link.ended == []
    assert cleaned == ["up", "up"]
    assert goodbyes == [ask("goodbye")] * 2


def goodbye(said: list[Any]) -> Any:
    class Said:
        message = say("bye")

    async def exchange(kind: Any, message: Any, **options: Any) -> Any:
        said.append(message)
        return Said()

    return exchange


def test_a_handler_that_waits_for_nothing_lets_others_run() -> None:
    class Counted(World):
        pauses = 0

        async def sleep(self, seconds: float, /) -> None:
            assert seconds == 0
            self.pauses += 1

    world, link, event = Counted(), Link(), request(COUNT, ask("100"))
    run(Service(counting(), host=world).job(link, event).run())
    assert world.pauses == 100 // ITEMS_AT_ONCE


def test_an_object_that_is_no_generator_is_our_fault() -> None:
    class Blocking:
        def __call__(self, message: v1.Search, call: Call) -> list[v1.GoAway]:
            return numbers(3)

    router = Router()
    router.on(COUNT)(Blocking())  # type: ignore[arg-type]
    sent = Sent(router)
    assert sent.items == []
    assert sent.failure.status is Status.INTERNAL
    [note] = sent.world.notes
    assert note.event == "handler.error"


def test_a_request_that_has_expired_begins_no_stream() -> None:
    world, link = World(), Link()
    event = request(COUNT, ask("3"), expires_at=world.clock.now.wall)
    run(Service(counting(), host=world).job(link, event).run())
    assert failure_of(link, event).reason == "REQUEST_EXPIRED"
    assert link.items == {}


def test_roles_hold_for_streams_too() -> None:
    router = Router()
    router.on(COUNT, roles={Role.DEVICE})(count)
    sent = Sent(router, peer=PROVIDER)
    assert sent.failure.reason == "ROLE_DENIED"
    assert sent.items == []


# Middleware


def test_middleware_is_around_all_of_a_stream() -> None:
    router, seen = Router(), list[Any]()

    @router.middleware
    async def watch(call: Call, message: Any, call_next: Next) -> Any:
        seen.append("in")
        answer = await call_next(ask(message.query * 2))
        seen.append(answer)
        return answer

    router.include(counting())
    sent = Sent(router, "1")
    assert sent.items == numbers(11)
    assert sent.ended
    assert seen == ["in", say("")], "what it gets is empty, and goes nowhere"


@pytest.mark.parametrize("before", [True, False])
def test_middleware_may_fail_a_stream_before_it_and_behind_it(before: bool) -> None:
    router = Router()

    @router.middleware
    async def closed(call: Call, message: Any, call_next: Next) -> Any:
        if not before:
            await call_next(message)
        raise Fail(Status.UNAVAILABLE, "CLOSED")

    router.include(counting())
    sent = Sent(router)
    assert sent.items == ([] if before else numbers(3))
    assert sent.failure.reason == "CLOSED"


def test_middleware_may_catch_what_a_stream_raises() -> None:
    router = Router()

    @router.middleware
    async def forgive(call: Call, message: Any, call_next: Next) -> Any:
        try:
            return await call_next(message)
        except Fail:
            return None

    @router.on(COUNT)
    async def short(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        yield say("0")
        raise Fail(Status.OUT_OF_RANGE, "NO_MORE")

    sent = Sent(router)
    assert sent.items == numbers(1)
    assert sent.ended


def test_middleware_may_end_a_stream_that_it_does_not_begin() -> None:
    router = Router()

    @router.middleware
    async def nothing(call: Call, message: Any, call_next: Next) -> Any:
        return None

    router.include(counting())
    sent = Sent(router)
    assert sent.items == []
    assert sent.ended
    assert sent.world.notes == []


# What a router takes


async def one(message: v1.Search, call: Call) -> v1.GoAway:
    return say(message.query)


def blocking(message: v1.Search, call: Call) -> v1.GoAway:
    return say(message.query)


class Handler:
    async def __call__(self, message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        yield say("")

    async def method(self, message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        yield say("")


def test_the_handler_of_a_stream_is_an_async_generator() -> None:
    for handler in (count, Handler().method, Handler()):
        router = Router()
        register: Any = router.on(COUNT)
        assert register(handler) is handler
        assert router.kinds == (COUNT,)


@pytest.mark.parametrize(
    ("kind", "handler", "options", "text"),
    [
        (COUNT, one, {}, r"one for acme.Count \(1002/1\) is no stream: write `async def` with `yield` for each item"),
        (COUNT, blocking, {}, r"blocking for acme.Count \(1002/1\) is no stream"),
        (COUNT, count, {"thread": True}, r"count for acme.Count \(1002/1\) is to run in a thread.*leave thread= out"),
        (COUNT, blocking, {"thread": True}, r"streams do not: leave thread= out"),
        (NOTE, count, {}, r"count for acme.Note \(1000/1\) yields, and acme.Note is no stream: return one answer"),
        (NOTE, count, {"thread": True}, r"acme.Note is no stream"),
        (REDEEM, count, {}, r"acme.Redeem is no stream"),
    ],
)
def test_what_does_not_fit_its_kind_is_refused(kind: Any, handler: Any, options: dict[str, Any], text: str) -> None:
    router = Router()
    register: Any = router.on
    with pytest.raises(LocalProtocolError, match=text):
        register(kind, **options)(handler)
    assert router.kinds == ()


def test_a_router_serves_streams_beside_the_rest() -> None:
    router = counting()
    router.include(echo_router())
    assert Sent(router).ended
    assert set(router.kinds) == {COUNT, NOTE}


def test_type_checkers_know_the_items_of_a_stream() -> None:
    """mypy reads this: each ignore is an error that it must find, and unused ignores are errors."""
    router = Router()

    async def wrong_item(message: v1.Search, call: Call) -> AsyncGenerator[v1.Search, None]:
        yield message

    async def wrong_message(message: v1.GoAway, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        yield message

    router.on(COUNT)(wrong_item)  # type: ignore[arg-type]
    router.on(MARKETPLACE_BROWSE)(wrong_message)  # type: ignore[arg-type]
    assert len(router.kinds) == 2
