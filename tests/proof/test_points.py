"""Processes die where they say: what a death has left behind of its payment is what there is at that point."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.proof.bank import FileLedger
from tests.proof.cast import Cast
from tests.proof.evidence import Death, How, Run
from tests.proof.fate import ClientPoint, ServerPoint
from tests.proof.history import read_run
from tests.proof.programs import Births
from tests.proof.proxy import Proxy
from tests.proof.scene import CLIENTS, DATABASE, SERVER, Scene, nonce_of


class Left(NamedTuple):
    """What there is of a payment."""

    claim: bool
    effect: bool
    outcome: bool
    told: bool
    """The client has written down an answer."""


NOTHING = Left(claim=False, effect=False, outcome=False, told=False)
CLAIMED = Left(claim=True, effect=False, outcome=False, told=False)
APPLIED = Left(claim=True, effect=True, outcome=False, told=False)
STORED = Left(claim=True, effect=True, outcome=True, told=False)
TOLD = Left(claim=True, effect=True, outcome=True, told=True)

LEFT: dict[tuple[str, str], dict[str, set[Left]]] = {
    (SERVER, "plain"): {
        ServerPoint.BEFORE_CLAIM: {NOTHING},
        ServerPoint.AFTER_CLAIM: {CLAIMED},
        ServerPoint.AFTER_EFFECT: {APPLIED},
        ServerPoint.AFTER_OUTCOME: {STORED},
        ServerPoint.AFTER_WRITE: {STORED, TOLD},
    },
    (SERVER, "transactional"): {
        ServerPoint.BEFORE_CLAIM: {NOTHING},
        ServerPoint.AFTER_CLAIM: {CLAIMED},
        ServerPoint.AFTER_EFFECT: {CLAIMED},
        ServerPoint.AFTER_OUTCOME: {STORED},
        ServerPoint.AFTER_WRITE: {STORED, TOLD},
    },
    **{
        (client, "transactional"): {
            ClientPoint.BEFORE_SEND: {NOTHING},
            ClientPoint.AFTER_SEND: {STORED},
            ClientPoint.AFTER_ANSWER: {STORED},
        }
        for client in CLIENTS
    },
}
"""What may be left by a death of whom with which handlers. Bytes that were written may be lost with their line."""


def left_of(death: Death, run: Run, path: Path) -> Left:
    """What there is of the payment that the death hit."""
    assert death.key is not None
    with closing(sqlite3.connect(path)) as db:
        kept = db.execute("SELECT outcome FROM ratatoskr_once WHERE nonce = ?", (nonce_of(death.key),)).fetchall()
    told = [each.told for each in run.by_key[death.key] if each.told and each.told.how is How.ANSWERED]
    outcome = any(outcome is not None for (outcome,) in kept)
    return Left(bool(kept), ("file", death.key) in run.rows, outcome, bool(told))


@pytest.mark.parametrize(("who", "form"), LEFT)
def test_a_death_is_where_it_says(who: str, form: str, tmp_path: Path) -> None:
    """On fine days, so that nothing else happens; a server that survives ends in order, and does what is left to it."""

    async def die(births: Births, point: str) -> Left:
        scene = Scene(tmp_path / point, 4, time.time())
        scene.home.mkdir()
        FileLedger.create(scene.home / DATABASE, scene.opening)
        async with Proxy() as proxy:
            source = random.Random(f"{point} {form}")
            cast = Cast(scene, births, proxy, source, server=["--store=sqlite", f"--form={form}"], bug="")
            await cast.start(CLIENTS[0] if who == SERVER else SERVER)
            await cast.live_and_die(who, point, latest=1)
            if who == SERVER:
                await cast.kill(CLIENTS[0])
            else:
                await cast.leave(SERVER)
        run = read_run(scene, "sqlite", form, cast.lives)
        [death] = run.deaths
        assert (death.who, death.life, death.point) == (who, 1, point)
        assert run.in_flight(death) or point == ServerPoint.AFTER_WRITE, "its client may have been faster"
        return left_of(death, run, scene.home / DATABASE)

    async def main() -> dict[str, Left]:
        async with Births() as births:
            return {point: await die(births, point) for point in LEFT[who, form]}

    left = asyncio.run(main())
    assert {point: {left[point]} & allowed for point, allowed in LEFT[who, form].items()} == {
        point: {each} for point, each in left.items()
    }
