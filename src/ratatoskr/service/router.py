"""Router: which handler answers which kind, and for whom.

::

    router = Router()


    @router.on(PAYMENT_AUTHORIZE, roles={Role.DEVICE})
    async def authorize(message: AuthorizePayment, call: Call) -> PaymentAuthorized: ...

Type checkers reject a handler whose message or answer is not the kind's. A handler ends a call without an answer by
raising :class:`~ratatoskr.errors.Fail`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, overload

from google.protobuf.message import Message

from ratatoskr.errors import Disposition, Failure, LocalProtocolError, Status
from ratatoskr.identity import Role, VerifiedPeer
from ratatoskr.messages import AnyKind, Kind, MessageType
from ratatoskr.service.call import Call
from ratatoskr.service.recovery import ATOMIC, Recover, RecoverFunction

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)

AsyncHandler: TypeAlias = Callable[[Req, Call], Coroutine[Any, Any, Res]]
StreamHandler: TypeAlias = Callable[[Req, Call], AsyncGenerator[Res, None]]
SyncHandler: TypeAlias = Callable[[Req, Call], Res]
Next: TypeAlias = Callable[[Message], Awaitable[Message]]
Middleware: TypeAlias = Callable[[Call, Message, Next], Awaitable[Message]]
M = TypeVar("M", bound=Middleware)

_CO_COROUTINE = 0x80
"""Flag of a function that was written with ``async def``."""
_CO_ASYNC_GENERATOR = 0x200
"""Flag of one that has a ``yield`` too."""


class _Register(Protocol[Req, Res]):
    """Takes the handler of a kind, and gives it back."""

    @overload
    def __call__(self, handler: AsyncHandler[Req, Res], /) -> AsyncHandler[Req, Res]: ...

    @overload
    def __call__(self, handler: StreamHandler[Req, Res], /) -> StreamHandler[Req, Res]: ...


@dataclass(frozen=True, slots=True)
class Route:
    """One handler, with who may reach it and what is around it (outermost first)."""

    kind: AnyKind
    handler: Callable[[Any, Call], Any]
    thread: bool
    roles: frozenset[Role] | None
    unenrolled: bool
    recover: Recover[Any, Any] | None = None
    middleware: tuple[Middleware, ...] = ()

    def denial(self, peer: VerifiedPeer) -> Failure | None:
        """Why that peer may not call this; None where it may."""
        if not peer.enrolled and not self.unenrolled:
            reason, text = "NOT_ENROLLED", f"{self.kind.name} is for enrolled peers: register first"
        elif self.roles is not None and peer.role not in self.roles:
            reason, text = "ROLE_DENIED", f"{self.kind.name} is not for the role {peer.role.name}"
        else:
            return None
        return Failure(Status.PERMISSION_DENIED, reason, text, Disposition.NOT_PROCESSED)


class Router:
    """Handlers by kind, and middleware around them. Complete before it serves: afterwards it takes nothing new."""

    def __init__(self) -> None:
        self._routes: dict[tuple[int, int], Route] = {}
        self._included: list[Router] = []
        self._middleware: list[Middleware] = []
        self._serving = False

    @overload
    def on(
        self,
        kind: Kind[Req, Res],
        *,
        roles: Collection[Role] | None = None,
        enrolled: bool | None = None,
        recover: Recover[Req, Res] | None = None,
        thread: Literal[False] = False,
    ) -> _Register[Req, Res]: ...

    @overload
    def on(
        self,
        kind: Kind[Req, Res],
        *,
        roles: Collection[Role] | None = None,
        enrolled: bool | None = None,
        recover: RecoverFunction[Req, Res] | None = None,
        thread: Literal[True],
    ) -> Callable[[SyncHandler[Req, Res]], SyncHandler[Req, Res]]: ...

    def on(
        self,
        kind: AnyKind,
        *,
        roles: Collection[Role] | None = None,
        enrolled: bool | None = None,
        recover: Recover[Any, Any] | None = None,
        thread: bool = False,
    ) -> Any:
        """Register the handler of a kind. The handler itself stays as it is, and can be called in tests.

        The handler of a stream is an async generator: each item that it yields is sent when the caller takes more.

        ``roles``: who may call; None for every role. ``enrolled``: True for enrolled peers only, False for others too;
        None is False for provider registration and True for everything else. ``thread``: the handler is a plain
        function that may block; it runs in a thread and can neither call back nor ``begin()``.

        ``recover``: what is done about an execution whose process died before its outcome was stored, when the request
        is made again. None: its outcome stays unknown. :data:`ATOMIC`: the handler is executed again; it swears that
        its effect happens only in ``call.begin()``'s transaction, and has to begin it. Or ``async def recover(message,
        call)``, which finds out what became of the effect: it returns the answer, raises ``Fail`` for the failure, or
        :class:`NotExecuted`, and then the handler is executed. Then it must be sure that the earlier execution has no
        effect later either: a process that is taken for dead may only stand still. It may ``begin()`` too. Where it
        raises anything else, or a ``Fail`` that is *maybe*, nothing is stored and the next request asks it again. So
        does the request after a handler that ended with a *maybe* itself, or broke.

        Raises LocalProtocolError for a second handler of a kind, and for misuse.
        """
        if roles is not None and not roles:
            raise LocalProtocolError(f"{kind}: roles is empty, so nobody could call it; leave it out for every role")
        _check_recovery(kind, recover, thread=thread)
        unenrolled = kind.type == MessageType.PROVIDER_REGISTRATION if enrolled is None else not enrolled

        def register(handler: Callable[[Any, Call], Any]) -> Callable[[Any, Call], Any]:
            self._check_open()
            _check_handler(kind, handler, thread=thread)
            route = Route(kind, handler, thread, None if roles is None else frozenset(roles), unenrolled, recover)
            _add(self._routes, route)
            return handler

        return register

    def middleware(self, function: M) -> M:
        """Register ``async def function(call, message, call_next)``, which answers ``await call_next(message)``.

        It may also answer by itself, or raise Fail. Around a stream ``call_next`` returns when all of it is sent, an
        empty message that goes nowhere. It is around every handler of this router and of those that it
        includes; what is registered first is outermost. It runs with the handler: for a kind that executes at most
        once it runs at most once too, and roles have been checked before.
        """
        self._check_open()
        self._middleware.append(function)
        return function

    def include(self, other: Router) -> None:
        """Serve the other router's handlers too, also those that it gets later, with its middleware inside this one's.

        Raises LocalProtocolError where that would be a circle.
        """
        self._check_open()
        if other.includes(self):
            raise LocalProtocolError("a router cannot include itself, directly or through others")
        self._included.append(other)

    @property
    def kinds(self) -> tuple[AnyKind, ...]:
        """The kinds that have a handler here or in an included router."""
        return tuple(route.kind for route in self.routes().values())

    def routes(self) -> dict[tuple[int, int], Route]:
        """Every route by (type, operation), with all middleware. Raises LocalProtocolError for a second handler."""
        table: dict[tuple[int, int], Route] = {}
        outer = tuple(self._middleware)
        for source in (self._routes, *(each.routes() for each in self._included)):
            for route in source.values():
                _add(table, replace(route, middleware=(*outer, *route.middleware)))
        return table

    def serve(self) -> dict[tuple[int, int], Route]:
        """The routes, from now on fixed. Called by the service."""
        self._serving = True
        for each in self._included:
            each.serve()
        return self.routes()

    def includes(self, other: Router) -> bool:
        """Whether the other router is this one or included in it."""
        return self is other or any(each.includes(other) for each in self._included)

    def _check_open(self) -> None:
        if self._serving:
            raise LocalProtocolError("this router is serving: register handlers and middleware before that")


def _add(table: dict[tuple[int, int], Route], route: Route) -> None:
    if table.setdefault((route.kind.type, route.kind.operation), route) is not route:
        raise LocalProtocolError(f"{route.kind} has a handler already")


def _check_handler(kind: AnyKind, handler: Callable[[Any, Call], Any], *, thread: bool) -> None:
    """Refuse a blocking handler in the event loop, and a coroutine in a thread. Callable objects are taken on trust."""
    code = getattr(handler, "__code__", None)
    if code is None:
        return
    name = getattr(handler, "__qualname__", "the handler")
    is_async = bool(code.co_flags & _CO_COROUTINE)
    is_generator = bool(code.co_flags & _CO_ASYNC_GENERATOR)
    if kind.stream:
        if thread:
            raise LocalProtocolError(f"{name} for {kind} is to run in a thread, and streams do not: leave thread= out")
        if not is_generator:
            raise LocalProtocolError(f"{name} for {kind} is no stream: write `async def` with `yield` for each item")
        return
    if is_generator:
        raise LocalProtocolError(f"{name} for {kind} yields, and {kind.name} is no stream: return one answer")
    if thread and is_async:
        raise LocalProtocolError(f"{name} for {kind} is async: leave thread=True out, or write a plain function")
    if not thread and not is_async:
        raise LocalProtocolError(f"{name} for {kind} is not async: write `async def`, or register it with thread=True")


def _check_recovery(kind: AnyKind, recover: Recover[Any, Any] | None, *, thread: bool) -> None:
    """Refuse what could never recover anything."""
    if recover is None:
        return
    if not kind.once:
        raise LocalProtocolError(f"{kind} does not run at most once: leave recover= out, or declare it with once=")
    if recover is ATOMIC:
        if thread:
            raise LocalProtocolError(f"a handler for {kind} in a thread cannot begin(), so it cannot be ATOMIC")
        return
    code = getattr(recover, "__code__", None)
    if code is not None and not code.co_flags & _CO_COROUTINE:
        name = getattr(recover, "__qualname__", "the recovery")
        raise LocalProtocolError(f"{name} for {kind} is not async: write `async def` to recover what was executed")
