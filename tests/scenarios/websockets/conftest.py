"""Coroutines are tests, each in a loop of its own; and a world for them."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
from collections.abc import Awaitable
from typing import Any

import pytest

from tests.scenarios.websockets.rest import kept
from tests.scenarios.websockets.world import World

SECONDS = 60.0
"""No test takes that long, unless it hangs."""


async def _run(test: Awaitable[None]) -> None:
    """Nothing may go wrong unseen: what a callback raises fails the test."""
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
    async with asyncio.timeout(SECONDS):
        await test
    gc.collect()  # of tasks whose exception nobody asked for
    assert seen == []


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(_run(pyfuncitem.obj(**arguments)))
    for world in arguments.values():
        if isinstance(world, World):
            assert [kept(server) for server in world.servers] == [{}] * len(world.servers)
    return True


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level(logging.INFO, "ratatoskr.websockets")
    return World()
