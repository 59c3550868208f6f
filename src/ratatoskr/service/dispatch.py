"""Service: from a request that arrived to its answer. All connections of a process share one.

Each ``RequestReceived`` becomes a :class:`Job`, which :mod:`ratatoskr.service.handling` runs as a task. What is to be
decided on the way is decided here: who may call, whether and where a request executes, what is stored, what the caller
is told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeAlias, cast

from google.protobuf.message import Message

from ratatoskr.errors import CallError, Disposition, Fail, Failure, LocalProtocolError, Status
from ratatoskr.events import RequestId, RequestReceived
from ratatoskr.identity import Role
from ratatoskr.messages import AnyKind, Rule
from ratatoskr.messages.schema import check
from ratatoskr.service.answers import Answers, Arrival
from ratatoskr.service.call import Call
from ratatoskr.service.claims import Attempt, Claims
from ratatoskr.service.directory import Directory
from ratatoskr.service.host import Host, Level
from ratatoskr.service.link import PeerLink
from ratatoskr.service.memory import MemoryStore
from ratatoskr.service.once import NOT_RECOVERED, OncePolicy
from ratatoskr.service.outcome import Outcome
from ratatoskr.service.recovery import ATOMIC, NotExecuted
from ratatoskr.service.router import Middleware, Route, Router
from ratatoskr.service.store import OnceStore

ITEMS_AT_ONCE = 8
"""Items that a handler sends before others run, and before it learns that it is stopped."""


class Unfit(Exception):
    """What a handler gives must not be sent."""


_Invoke: TypeAlias = Callable[[Any, Call], Awaitable[Any]]


class Job:
    """One request on its way to its answer."""

    __slots__ = ("_run", "id", "once")

    def __init__(self, id: RequestId, run: Callable[[], Awaitable[None]], *, once: bool) -> None:
        self.id: RequestId = id
        """What ``RequestExpired`` names."""
        self.once: bool = once
        """True: run it where it outlives the connection, and do not cancel it. Its outcome is stored, and replayed."""
        self._run = run

    async def run(self) -> None:
        """Answer the request. Once. Raises nothing but a cancellation."""
        await self._run()


class Service:
    """Answers requests by the handlers of a router.

    ``store`` keeps what executes at most once; the default forgets it when the process ends. ``directory``: the peers
    that handlers can reach beside their caller; a server has one.

    Raises LocalProtocolError where a handler is declared ATOMIC and the store has no transactions.
    """

    def __init__(
        self,
        router: Router,
        *,
        host: Host,
        store: OnceStore | None = None,
        policy: OncePolicy | None = None,
        directory: Directory[PeerLink] | None = None,
    ) -> None:
        self._host = host
        self._directory = directory
        self._answers = Answers(host)
        kept = MemoryStore() if store is None else store
        self._claims = Claims(host, self._answers, kept, policy or OncePolicy())
        self._routes = {place: (route, self._compose(route)) for place, route in router.serve().items()}
        for route, _ in self._routes.values():
            if route.recover is ATOMIC and not kept.transactional:
                name = type(kept).__name__
                raise LocalProtocolError(f"{route.kind} is ATOMIC, and {name} has no transactions: use a SqliteStore")

    def job(self, link: PeerLink, event: RequestReceived) -> Job:
        """What is to be done about a request. Nothing has happened yet; :meth:`Job.run` does it."""
        arrival = Arrival(link, event)
        call = Call(self._host, link, event, self._directory)
        return Job(event.id, partial(self._run, arrival, call), once=bool(event.kind.once))

    async def upkeep(self) -> float:
        """What must be done again and again: at the start, then after each time the returned number of seconds."""
        return await self._claims.upkeep()

    async def _run(self, arrival: Arrival, call: Call) -> None:
        kind = arrival.kind
        route, invoke = self._routes.get((kind.type, kind.operation), (None, None))
        if route is None or invoke is None:
            self._refuse(arrival, self._unimplemented(arrival))
            return
        denial = route.denial(arrival.link.peer)
        if denial is not None:
            self._refuse(arrival, denial)
            return
        execute = partial(self._execute, arrival, call, route, invoke)
        if kind.once:
            atomic = route.recover is ATOMIC
            recover = None if route.recover is None else partial(self._recover, arrival, call, route)
            await self._claims.run(Attempt(arrival, call, execute, recover, atomic))
        elif kind.stream:
            outcome = await execute()
            if isinstance(outcome, Failure):
                self._answers.give(arrival, outcome)
            else:
                arrival.link.respond(arrival.event.id)
        else:
            self._answers.give(arrival, await execute())

    def _refuse(self, arrival: Arrival, failure: Failure) -> None:
        self._answers.note(Level.INFO, f"call.{failure.reason.lower()}", f"{arrival}: {failure.message}")
        self._answers.give(arrival, failure)

    def _unimplemented(self, arrival: Arrival) -> Failure:
        kind, count = arrival.kind, len(self._routes)
        here = "client" if arrival.link.peer.role is Role.SERVER else "server"
        text = (
            f"no handler for {kind.type}/{kind.operation} ({kind.name}); "
            f"this {here} handles {count} {'kind' if count == 1 else 'kinds'}"
        )
        return Failure(Status.UNIMPLEMENTED, "NO_HANDLER", text, Disposition.NOT_PROCESSED)

    async def _execute(self, arrival: Arrival, call: Call, route: Route, invoke: _Invoke) -> Outcome:
        """Run the handler. Whatever it does, an outcome comes of it; only a cancellation gets out."""
        if call.expires_at is not None and call.expires_at <= self._host.now().wall:
            return Rule.REQUEST_EXPIRED.failure("the request expired before it could be executed")
        atomic = route.recover is ATOMIC
        try:
            answer: Message = await invoke(arrival.message, call)
        except Unfit as unfit:
            fault: str | None = str(unfit)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            return self._failed(arrival, _unwrapped(error), undone=atomic)
        else:
            fault = None if route.kind.stream else _fault_in(answer, route.kind, route.handler)
            if fault is None:
                return answer
        undone = atomic and call.transaction is not None
        return self._answers.internal(arrival, "handler.answer", fault or "", undone=undone)

    async def _recover(self, arrival: Arrival, call: Call, route: Route) -> Outcome | None:
        """What became of an execution whose owner died: None where it did nothing, *maybe* where nobody knows."""
        recover = route.recover
        if recover is None or recover is ATOMIC:
            return None
        cause: Exception | None = None
        try:
            answer: Message = await recover(arrival.message, call)
        except Exception as error:  # noqa: BLE001 - it may raise anything
            cause = _unwrapped(error)
            if isinstance(cause, NotExecuted):
                return None
            if isinstance(cause, Fail):
                return cause.failure
            fault: str | None = f"the recovery raised {type(cause).__name__}"
        else:
            fault = _fault_in(answer, route.kind, recover)
            if fault is None:
                return answer
        self._answers.note(Level.ERROR, "handler.recover", f"{arrival}: {fault}", cause)
        return NOT_RECOVERED

    def _compose(self, route: Route) -> _Invoke:
        """The handler with its middleware around it."""
        invoke: _Invoke = route.handler
        if route.kind.stream:
            invoke = partial(_send_all, self._host, route)
        elif route.thread:
            invoke = partial(_in_thread, self._host, route.handler)
        elif route.recover is ATOMIC:
            invoke = partial(_sworn, route)
        for middleware in reversed(route.middleware):
            invoke = partial(_around, middleware, invoke)
        return invoke

    def _failed(self, arrival: Arrival, error: Exception, *, undone: bool) -> Failure:
        if isinstance(error, Fail):
            return error.failure
        event, text = "handler.error", f"the handler raised {type(error).__name__}"
        if isinstance(error, CallError):
            event = "handler.call"
            text = "a call that the handler made failed; to pass that on, catch CallError and raise Fail"
        return self._answers.internal(arrival, event, text, error, undone=undone)


def _unwrapped(error: Exception) -> Exception:
    """What a group holds that holds one exception: nurseries and task groups wrap what their only task raised."""
    if not isinstance(error, ExceptionGroup):
        return error
    group = cast("ExceptionGroup[Exception]", error)
    return _unwrapped(group.exceptions[0]) if len(group.exceptions) == 1 else group


def _fault_in(answer: Any, kind: AnyKind, function: Callable[..., Any]) -> str | None:
    """Why the peer could not take that answer; None where it can."""
    name = getattr(function, "__qualname__", "the handler")
    response: type[Message] = kind.response
    give = "yield" if kind.stream else "return"
    if not isinstance(answer, response):
        return f"{name} {give}ed a {type(answer).__name__}; it must {give} a {response.__name__}"
    violations = check(answer)
    if not violations:
        return None
    return f"{name} {give}ed an invalid {response.__name__}: {violations[0].field} {violations[0].description}"


async def _sworn(route: Route, message: Message, call: Call) -> Any:
    """A handler that has sworn to have no effect outside of its transaction."""
    answer = await route.handler(message, call)
    if call.transaction is None:
        name = getattr(route.handler, "__qualname__", "the handler")
        raise Unfit(f"{name} is declared ATOMIC and returned without call.begin(): its effect would be lost or doubled")
    return answer


async def _send_all(host: Host, route: Route, message: Message, call: Call) -> Message:
    """Send what the handler of a stream yields. The empty message stands for the end, and is not sent."""
    count = 0
    async with aclosing(route.handler(message, call)) as items:
        async for item in items:
            fault = _fault_in(item, route.kind, route.handler)
            if fault is not None:
                raise Unfit(fault)
            await call.send(item)
            count += 1
            if count % ITEMS_AT_ONCE == 0:
                await host.sleep(0)
    end: Message = route.kind.response()
    return end


async def _in_thread(host: Host, handler: Callable[[Any, Call], Any], message: Message, call: Call) -> Any:
    return await host.run_in_thread(partial(handler, message, call))


async def _around(middleware: Middleware, inner: _Invoke, message: Message, call: Call) -> Message:
    async def following(message: Message) -> Any:
        return await inner(message, call)

    return await middleware(call, message, following)
