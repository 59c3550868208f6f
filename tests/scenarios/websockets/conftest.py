"""Coroutines are tests, each in a loop of its own; and a world for them."""

from __future__ import annotations

import asyncio
import inspect
import logging

import pytest

from tests.scenarios.websockets.world import World

SECONDS = 60.0
"""No test takes that long, unless it hangs."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), SECONDS))
    return True


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level(logging.INFO, "ratatoskr.websockets")
    return World()
