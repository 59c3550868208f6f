"""From a request to its answer, where the kind may run again and again."""

from __future__ import annotations

from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import (
    CallFailed,
    CallRefused,
    Disposition,
    Fail,
    Failure,
    FieldViolation,
    LocalProtocolError,
    Status,
)
from ratatoskr.events import RequestId
from ratatoskr.identity import Role
from ratatoskr.messages.standard import MARKETPLACE_SEARCH
from ratatoskr.service import Call, Exchange, Level, Next, PendingCalls, Router, Service
from tests.unit.service.support import (
    DEVICE,
    NOTE,
    PROVIDER,
    REDEEM,
    SERVER,
    Cancelled,
    Gate,
    Link,
    Task,
    World,
    answer_of,
    ask,
    echo_router,
    failure_of,
    request,
    response,
    run,
    say,
    serve,
)


@pytest.fixture
def world() -> World:
    return World()


def raising(error: BaseException) -> Router:
    router = Router()

    @router.on(NOTE)
    async def broken(message: v1.Search, call: Call) -> v1.GoAway:
        raise error

    return router


def test_a_handler_answers(world: World) -> None:
    service, link, event = Service(echo_router(), host=world), Link(), request(NOTE, ask("hello"))
    job = service.job(link, event)
    assert job.id is event.id
    assert not job.once
    assert link.told == {}, "nothing happens before the job runs"
    run(job.run())
    assert link.told == {event.id: (say("hello"), False)}
    assert world.notes == []


def test_a_handler_fails_the_call(world: World) -> None:
    violation = FieldViolation("query", "rule", "too rude")
    error = Fail(Status.NOT_FOUND, "NO_SUCH_THING", "look elsewhere", retry_delay=2.0, violations=(violation,))
    assert serve(Service(raising(error), host=world), request(NOTE, ask())) == error.failure
    assert world.notes == []


def test_a_group_of_one_failure_is_that_failure(world: World) -> None:
    error = Fail(Status.NOT_FOUND, "NO_SUCH_THING")
    group = ExceptionGroup("nursery", [ExceptionGroup("inner", [error])])
    assert serve(Service(raising(group), host=world), request(NOTE, ask())) == error.failure


@pytest.mark.parametrize(
    ("error", "event", "text"),
    [
        (ValueError("a secret"), "handler.error", "the handler raised ValueError"),
        (
            ExceptionGroup("two", [Fail(Status.ABORTED, "A"), Fail(Status.ABORTED, "B")]),
            "handler.error",
            "the handler raised ExceptionGroup",
        ),
        (LocalProtocolError("misuse"), "handler.error", "the handler raised LocalProtocolError"),
        (
            CallFailed(Failure(Status.NOT_FOUND, "THEIRS", "a secret")),
            "handler.call",
            "a call that the handler made failed; to pass that on, catch CallError and raise Fail",
        ),
    ],
)
def test_what_a_handler_did_not_mean_stays_in_the_log(world: World, error: Exception, event: str, text: str) -> None:
    answer = serve(Service(raising(error), host=world), request(NOTE, ask("private")))
    [note] = world.notes
    assert note.level is Level.ERROR
    assert note.event == event
    assert note.text == f"acme.Note (1000/1) from device-1: {text}"
    assert note.error is error
    assert answer == Failure(Status.INTERNAL, "INTERNAL", f"internal error (ref {note.reference})", Disposition.FAILED)
    assert len(note.reference) == 8


def test_a_wrong_answer_is_our_fault(world: World) -> None:
    router = Router()

    @router.on(NOTE)
    async def forgetful(message: v1.Search, call: Call) -> v1.GoAway:
        return None  # type: ignore[return-value]

    answer = serve(Service(router, host=world), request(NOTE, ask()))
    assert isinstance(answer, Failure)
    assert (answer.status, answer.disposition) == (Status.INTERNAL, Disposition.FAILED)
    [note] = world.notes
    assert note.event == "handler.answer"
    assert note.text.endswith("forgetful returned a NoneType; it must return a GoAway")


def test_an_answer_that_the_peer_would_refuse_is_our_fault(world: World) -> None:
    router = Router()

    @router.on(MARKETPLACE_SEARCH)
    async def careless(message: v1.Search, call: Call) -> v1.SearchResult:
        return v1.SearchResult(offers=[v1.Offer(title="no number")])

    answer = serve(Service(router, host=world), request(MARKETPLACE_SEARCH, ask()))
    assert isinstance(answer, Failure)
    [note] = world.notes
    assert "careless returned an invalid SearchResult: offers[0]." in note.text


@pytest.mark.parametrize(
    ("router", "peer", "text"),
    [
        (echo_router(), DEVICE, "no handler for 1001/2 (acme.Redeem); this server handles 1 kind"),
        (Router(), DEVICE, "no handler for 1001/2 (acme.Redeem); this server handles 0 kinds"),
        (Router(), SERVER, "no handler for 1001/2 (acme.Redeem); this client handles 0 kinds"),
    ],
)
def test_a_kind_without_handler_is_unimplemented(world: World, router: Router, peer: Any, text: str) -> None:
    answer = serve(Service(router, host=world), request(REDEEM, ask()), Link(peer))
    assert answer == Failure(Status.UNIMPLEMENTED, "NO_HANDLER", text, Disposition.NOT_PROCESSED)
    assert world.logged == ["call.no_handler"]


def test_roles_are_checked_before_anything_runs(world: World) -> None:
    router = Router()

    @router.middleware
    async def never(call: Call, message: Any, call_next: Next) -> Any:
        raise AssertionError

    @router.on(NOTE, roles={Role.DEVICE})
    async def never_too(message: v1.Search, call: Call) -> v1.GoAway:
        raise AssertionError

    answer = serve(Service(router, host=world), request(NOTE, ask()), Link(PROVIDER))
    assert isinstance(answer, Failure)
    assert answer.reason == "ROLE_DENIED"
    assert [(note.level, note.event) for note in world.notes] == [(Level.INFO, "call.role_denied")]


def test_middleware_is_around_the_handler(world: World) -> None:
    router, seen = Router(), list[str]()

    def layer(name: str) -> Any:
        async def middleware(call: Call, message: v1.Search, call_next: Next) -> Any:
            seen.append(f"{name} in {call.peer.subject}")
            answer = await call_next(ask(f"{message.query}{name}"))
            seen.append(f"{name} out")
            return answer

        return middleware

    router.middleware(layer("a"))
    router.middleware(layer("b"))
    router.include(echo_router())
    assert serve(Service(router, host=world), request(NOTE, ask("-"))) == say("-ab")
    assert seen == ["a in device-1", "b in device-1", "b out", "a out"]


def test_middleware_may_answer_itself_or_fail(world: World) -> None:
    router = Router()

    @router.middleware
    async def closed(call: Call, message: Any, call_next: Next) -> Any:
        if message.query:
            raise Fail(Status.UNAVAILABLE, "CLOSED")
        return say("from the middleware")

    router.include(echo_router())
    service = Service(router, host=world)
    assert serve(service, request(NOTE, ask(""))) == say("from the middleware")
    answer = serve(service, request(NOTE, ask("x")))
    assert isinstance(answer, Failure)
    assert answer.reason == "CLOSED"


def test_a_blocking_handler_runs_in_a_thread(world: World) -> None:
    router = Router()

    @router.on(NOTE, thread=True)
    def blocking(message: v1.Search, call: Call) -> v1.GoAway:
        if not message.query:
            raise Fail(Status.NOT_FOUND, "NOTHING")
        return say(message.query)

    service = Service(router, host=world)
    assert serve(service, request(NOTE, ask("hello"))) == say("hello")
    answer = serve(service, request(NOTE, ask("")))
    assert isinstance(answer, Failure)
    assert answer.reason == "NOTHING"
    assert world.threads == 2


def test_an_object_that_is_not_async_is_our_fault(world: World) -> None:
    class Blocking:
        def __call__(self, message: v1.Search, call: Call) -> v1.GoAway:
            return say("")

    router = Router()
    router.on(NOTE)(Blocking())  # type: ignore[arg-type]
    answer = serve(Service(router, host=world), request(NOTE, ask()))
    assert isinstance(answer, Failure)
    assert answer.status is Status.INTERNAL


@pytest.mark.parametrize(("left", "reason"), [(0.0, "REQUEST_EXPIRED"), (-1.0, "REQUEST_EXPIRED"), (0.001, None)])
def test_what_has_expired_is_not_executed(world: World, left: float, reason: str | None) -> None:
    answer = serve(Service(echo_router(), host=world), request(NOTE, ask(), expires_at=world.clock.now.wall + left))
    if reason is None:
        assert answer == say("")
    else:
        assert isinstance(answer, Failure)
        assert (answer.reason, answer.disposition) == (reason, Disposition.NOT_PROCESSED)


def test_an_answer_that_cannot_be_sent_becomes_an_error(world: World) -> None:
    link, event = Link(longest=5), request(NOTE, ask("much too long"))
    run(Service(echo_router(), host=world).job(link, event).run())
    assert failure_of(link, event).status is Status.INTERNAL
    [note] = world.notes
    assert note.event == "answer.refused"
    assert "the answer cannot be sent: the answer has 15 bytes; the limit is 5" in note.text


def test_an_answer_to_a_lost_line_is_noted(world: World) -> None:
    link, event = Link(closed=True), request(NOTE, ask())
    run(Service(echo_router(), host=world).job(link, event).run())
    assert link.told == {}
    assert world.logged == ["answer.refused"]


def test_a_cancellation_gets_out(world: World) -> None:
    router, gate = Router(), Gate()

    @router.on(NOTE)
    async def slow(message: v1.Search, call: Call) -> v1.GoAway:
        await gate
        return say("late")

    link, event = Link(), request(NOTE, ask())
    task = Task(Service(router, host=world).job(link, event).run())
    task.step()
    assert not task.done
    task.cancel()
    assert isinstance(task.error, Cancelled)
    assert link.told == {}


# What a handler sees


def seen_by_handler(world: World, event: Any, link: Link | None = None) -> Call:
    calls: list[Call] = []
    router = Router()

    @router.on(NOTE)
    async def look(message: v1.Search, call: Call) -> v1.GoAway:
        calls.append(call)
        return say("")

    serve(Service(router, host=world), event, link)
    return calls[0]


def test_a_call_knows_its_request(world: World) -> None:
    wall = world.clock.now.wall
    event = request(NOTE, ask(), at=wall - 5, expires_at=wall + 60.5, metadata={"trace": "7"}, timeout=4.0)
    call = seen_by_handler(world, event)
    assert call.peer is DEVICE
    assert call.kind is NOTE
    assert call.nonce == event.request.nonce
    assert call.metadata == {"trace": "7"}
    assert call.issued_at == wall - 5
    assert call.expires_at == wall + 60.5
    receipt = call.evidence.receipt()
    assert receipt is not None
    assert receipt.envelope == event.received.envelope
    assert repr(call) == "<Call acme.Note (1000/1) from device-1>"


def test_a_call_knows_how_long_its_caller_waits(world: World) -> None:
    call = seen_by_handler(world, request(NOTE, ask(), timeout=4.0))
    assert call.deadline == world.clock.now.mono + 4.0
    world.clock.advance(3.0)
    assert call.remaining() == 1.0
    world.clock.advance(3.0)
    assert call.remaining() == 0.0


def test_a_call_without_terms_has_the_default_time_and_never_expires(world: World) -> None:
    call = seen_by_handler(world, request(NOTE, ask()))
    assert call.remaining() == 30.0
    assert call.expires_at is None
    assert call.metadata == {}


def test_a_handler_asks_its_caller_back(world: World) -> None:
    router = Router()
    options: dict[str, Any] = {"timeout": 3.0, "key": "k", "expires_at": 9.0, "metadata": {"a": "b"}}

    @router.on(NOTE)
    async def curious(message: v1.Search, call: Call) -> v1.GoAway:
        first = await call.request(REDEEM, ask("first"), **options)
        second = await call.exchange(REDEEM, ask("second"))
        return say(f"{first.reason} {second.message.reason} {second.replayed}")

    def reply(text: str) -> Exchange[Any]:
        pending: PendingCalls[None] = PendingCalls()
        id = RequestId()
        pending.add(id, None)
        settled = pending.settle(response(id, REDEEM, say(text), replayed=True))
        assert settled is not None
        assert isinstance(settled.outcome, Exchange)
        return settled.outcome

    link = Link(replies=[reply("one"), reply("two")])
    assert serve(Service(router, host=world), request(NOTE, ask()), link) == say("one two True")
    left = {"timeout": 30.0}  # the time that the caller waits is all there is
    assert link.asked == [(REDEEM, ask("first"), options), (REDEEM, ask("second"), left)]


def test_a_refusal_from_the_caller_is_not_passed_on_by_accident(world: World) -> None:
    router = Router()

    @router.on(NOTE)
    async def curious(message: v1.Search, call: Call) -> v1.GoAway:
        return await call.request(REDEEM, ask(), key="k")

    refusal = CallRefused(Failure(Status.NOT_FOUND, "THEIRS", "theirs", Disposition.NOT_PROCESSED))
    link, event = Link(replies=[refusal]), request(NOTE, ask())
    run(Service(router, host=world).job(link, event).run())
    answer = answer_of(link, event)
    assert isinstance(answer, Failure)
    assert (answer.status, answer.disposition) == (Status.INTERNAL, Disposition.FAILED)
    assert world.logged == ["handler.call"]


def test_only_what_runs_once_can_begin(world: World) -> None:
    router = Router()

    @router.on(NOTE)
    async def hopeful(message: v1.Search, call: Call) -> v1.GoAway:
        await call.begin()
        return say("")

    serve(Service(router, host=world), request(NOTE, ask()))
    [note] = world.notes
    assert isinstance(note.error, LocalProtocolError)
    assert "declare it with once= to use begin()" in str(note.error)
