"""Which handler answers which kind, for whom, and what is around it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import Disposition, LocalProtocolError, Status
from ratatoskr.identity import Role, VerifiedPeer
from ratatoskr.messages import AnyKind
from ratatoskr.messages.standard import PAYMENT_AUTHORIZE, PROVIDER_REGISTER
from ratatoskr.service import ATOMIC, Call, Next, NotExecuted, Router
from tests.unit.service.support import DEVICE, NOTE, PROVIDER, REDEEM, UNENROLLED, echo_router, say


async def handler(message: v1.Search, call: Call) -> v1.GoAway:
    return say(message.query)


def blocking(message: v1.Search, call: Call) -> v1.GoAway:
    return say(message.query)


async def around(call: Call, message: Any, call_next: Next) -> Any:
    return await call_next(message)


@pytest.mark.parametrize(
    ("kind", "options", "peer", "reason"),
    [
        (NOTE, {}, DEVICE, None),
        (NOTE, {}, PROVIDER, None),
        (NOTE, {}, UNENROLLED, "NOT_ENROLLED"),
        (NOTE, {"enrolled": True}, UNENROLLED, "NOT_ENROLLED"),
        (NOTE, {"enrolled": False}, UNENROLLED, None),
        (NOTE, {"enrolled": False}, DEVICE, None),
        (NOTE, {"roles": {Role.DEVICE}}, DEVICE, None),
        (NOTE, {"roles": {Role.DEVICE}}, PROVIDER, "ROLE_DENIED"),
        (NOTE, {"roles": [Role.DEVICE, Role.PROVIDER]}, PROVIDER, None),
        (NOTE, {"roles": {Role.PROVIDER}}, UNENROLLED, "NOT_ENROLLED"),
        (NOTE, {"roles": {Role.DEVICE}, "enrolled": False}, UNENROLLED, "ROLE_DENIED"),
        (PAYMENT_AUTHORIZE, {}, UNENROLLED, "NOT_ENROLLED"),
        (PROVIDER_REGISTER, {}, UNENROLLED, None),
        (PROVIDER_REGISTER, {}, PROVIDER, None),
        (PROVIDER_REGISTER, {"enrolled": True}, UNENROLLED, "NOT_ENROLLED"),
        (PROVIDER_REGISTER, {"roles": {Role.DEVICE}}, UNENROLLED, "ROLE_DENIED"),
    ],
)
def test_who_may_call_what(kind: AnyKind, options: dict[str, Any], peer: VerifiedPeer, reason: str | None) -> None:
    router = Router()
    register: Any = router.on
    register(kind, **options)(handler)
    denial = router.routes()[kind.type, kind.operation].denial(peer)
    if reason is None:
        assert denial is None
    else:
        assert denial is not None
        assert (denial.status, denial.reason) == (Status.PERMISSION_DENIED, reason)
        assert denial.disposition is Disposition.NOT_PROCESSED
        assert kind.name in denial.message


def test_a_registered_handler_stays_what_it_was() -> None:
    router = Router()
    assert router.on(NOTE)(handler) is handler
    assert router.on(REDEEM, thread=True)(blocking) is blocking
    assert router.middleware(around) is around
    assert router.kinds == (NOTE, REDEEM)


def test_a_kind_has_one_handler() -> None:
    router = echo_router()
    with pytest.raises(LocalProtocolError, match=r"acme.Note \(1000/1\) has a handler already"):
        router.on(NOTE)(handler)
    router.include(echo_router())
    with pytest.raises(LocalProtocolError, match="has a handler already"):
        router.routes()


def test_an_included_router_serves_also_what_it_gets_later() -> None:
    outer, inner, innermost = Router(), Router(), Router()
    outer.include(inner)
    inner.include(innermost)
    innermost.on(NOTE)(handler)
    inner.on(REDEEM)(handler)
    assert set(outer.kinds) == {NOTE, REDEEM}
    assert inner.kinds == (REDEEM, NOTE)
    assert innermost.kinds == (NOTE,)


def test_routers_do_not_form_circles() -> None:
    outer, inner = Router(), Router()
    outer.include(inner)
    for router, included in ((outer, outer), (inner, outer)):
        with pytest.raises(LocalProtocolError, match="cannot include itself"):
            router.include(included)


def test_middleware_of_the_including_router_is_outermost() -> None:
    outer, inner = Router(), Router()
    outer.include(inner)
    inner.on(NOTE)(handler)
    outer.on(REDEEM)(handler)
    first, second, third = partial(around), partial(around), partial(around)
    outer.middleware(first)
    inner.middleware(third)
    outer.middleware(second)
    routes = outer.routes()
    assert routes[1000, 1].middleware == (first, second, third)
    assert routes[1001, 2].middleware == (first, second)


def test_a_serving_router_takes_nothing_new() -> None:
    outer, inner = Router(), Router()
    outer.include(inner)
    assert outer.serve() == {}
    for router in (outer, inner):
        for change in (
            partial(router.on(NOTE), handler),
            partial(router.middleware, around),
            partial(router.include, Router()),
        ):
            with pytest.raises(LocalProtocolError, match="this router is serving"):
                change()


def test_an_empty_set_of_roles_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="nobody could call it"):
        Router().on(NOTE, roles=())


class Callable:
    """A handler that is an object has no code to look at."""

    async def __call__(self, message: v1.Search, call: Call) -> v1.GoAway:
        return say(message.query)

    async def method(self, message: v1.Search, call: Call) -> v1.GoAway:
        return say(message.query)


def test_methods_and_objects_are_handlers_too() -> None:
    router = Router()
    router.on(NOTE)(Callable().method)
    router.on(REDEEM)(Callable())
    assert len(router.kinds) == 2


def test_a_blocking_handler_needs_a_thread() -> None:
    with pytest.raises(LocalProtocolError, match=r"blocking for acme.Note \(1000/1\) is not async.*thread=True"):
        Router().on(NOTE)(blocking)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match=r"handler for acme.Note .* is async"):
        Router().on(NOTE, thread=True)(handler)  # type: ignore[arg-type]


async def found(message: v1.Search, call: Call) -> v1.GoAway:
    raise NotExecuted


def test_a_handler_says_how_it_is_recovered() -> None:
    router = Router()
    router.on(REDEEM, recover=found)(handler)
    router.on(PAYMENT_AUTHORIZE, recover=ATOMIC)(Callable())  # type: ignore[arg-type]
    router.middleware(around)
    [redeem, authorize] = router.routes().values()
    assert (redeem.recover, authorize.recover) == (found, ATOMIC)
    blocking_too = Router()
    blocking_too.on(REDEEM, recover=found, thread=True)(blocking)
    methods = Router()
    methods.on(REDEEM, recover=Callable())(handler)
    methods.on(PAYMENT_AUTHORIZE, recover=Callable().method)(handler)  # type: ignore[arg-type]


def test_what_could_never_be_recovered_is_refused() -> None:
    refuse: Any = Router().on
    with pytest.raises(LocalProtocolError, match=r"acme.Note .* does not run at most once: leave recover= out"):
        refuse(NOTE, recover=found)
    with pytest.raises(LocalProtocolError, match=r"acme.Redeem .* in a thread cannot begin\(\)"):
        refuse(REDEEM, recover=ATOMIC, thread=True)
    with pytest.raises(LocalProtocolError, match=r"blocking for acme.Redeem .* is not async"):
        refuse(REDEEM, recover=blocking)


def test_type_checkers_know_the_messages_of_a_kind() -> None:
    """mypy reads this: each ignore is an error that it must find, and unused ignores are errors."""
    router = Router()

    async def wrong_answer(message: v1.Search, call: Call) -> v1.Search:
        return message

    async def wrong_message(message: v1.GoAway, call: Call) -> v1.GoAway:
        return message

    async def no_call(message: v1.Search) -> v1.GoAway:
        return say(message.query)

    router.on(NOTE)(wrong_answer)  # type: ignore[arg-type]
    router.on(REDEEM)(wrong_message)  # type: ignore[arg-type]
    router.on(PAYMENT_AUTHORIZE)(no_call)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="has a handler already"):
        router.on(REDEEM, recover=wrong_answer)(handler)  # type: ignore[arg-type]
    assert len(router.kinds) == 3
