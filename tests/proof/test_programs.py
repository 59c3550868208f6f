"""Who does not live as it should is shown, and nobody outlives its campaign."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.proof import programs
from tests.proof.programs import Births, Life, Unexpected

SCENE = ["--seed=1", "--born=1e9", "--life=1", "--store=memory", "--form=plain"]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def serving(births: Births, home: Path, *options: str) -> Life:
    return await births.start("server", [f"--home={home}", *SCENE, *options], home / "server.log")


def test_a_life_from_birth_to_death(tmp_path: Path) -> None:
    async def main() -> None:
        async with Births() as births:
            life = await serving(births, tmp_path)
            assert int(await life.ready())
            life.terminate()
            await life.ended(0)
            life.kill()

    asyncio.run(main())


def test_nobody_outlives_the_block(tmp_path: Path) -> None:
    async def main() -> int:
        async with Births() as births:
            life = await serving(births, tmp_path)
            await life.ready()
        await life.ended(-signal.SIGKILL)
        return life.pid.result()

    assert gone(asyncio.run(main()))


def test_who_ends_otherwise_is_shown_with_its_last_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with Births() as births:
            life = await serving(births, tmp_path, "--nonsense")
            with pytest.raises(Unexpected, match=r"not ready: server\.log(.*\n)*.* arguments: --nonsense"):
                await life.ready()
            with pytest.raises(Unexpected, match=r"ended with 1 and not with -9: server\.log"):
                await life.ended(-signal.SIGKILL)

    asyncio.run(main())


def test_who_does_not_end_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Births() as births:
            life = await serving(births, tmp_path)
            await life.ready()
            monkeypatch.setattr(programs, "SECONDS", 0.01)
            with pytest.raises(Unexpected, match="does not end"):
                await life.ended(0)
            monkeypatch.undo()

    asyncio.run(main())
