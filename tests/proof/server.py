"""The server of the proof, which is killed again and again. It drains at SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ratatoskr.service import Claim, Entry, MemoryStore, OncePolicy, OnceStore, StoreTransaction
from ratatoskr_stores import SqliteStore
from ratatoskr_websockets import serve
from tests.proof import planted
from tests.proof.bank import FORMS, TRANSACTIONAL, FileLedger, MemoryLedger, bank
from tests.proof.fate import Fate, ServerPoint, watch_writes
from tests.proof.scene import DATABASE, Scene

SESSION_TIMEOUT = 30.0
LEASE = 1.0
"""Seconds; a server that is restarted at once finds claims of its predecessor, and believes them for so long."""


class MortalStore:
    """A store, where the process may die at each step."""

    def __init__(self, store: Any, fate: Fate) -> None:
        self._store = store
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def claim(self, claim: Claim, **options: Any) -> Entry | None:
        self._fate.reach(ServerPoint.BEFORE_CLAIM, nonce=claim.key.nonce)
        entry: Entry | None = await self._store.claim(claim, **options)
        if entry is None:
            self._fate.reach(ServerPoint.AFTER_CLAIM, nonce=claim.key.nonce)
        return entry

    async def complete(self, claim: Claim, outcome: bytes, **options: Any) -> bool:
        kept: bool = await self._store.complete(claim, outcome, **options)
        self._fate.reach(ServerPoint.AFTER_OUTCOME, nonce=claim.key.nonce)
        return kept

    def begin(self, claim: Claim) -> StoreTransaction:
        return MortalTransaction(self._store.begin(claim), claim, self._fate)


class MortalTransaction:
    """A transaction, behind whose commit the process may die."""

    def __init__(self, transaction: Any, claim: Claim, fate: Fate) -> None:
        self._transaction = transaction
        self._claim = claim
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    async def commit(self, outcome: bytes, **options: Any) -> bool:
        kept: bool = await self._transaction.commit(outcome, **options)
        self._fate.reach(ServerPoint.AFTER_OUTCOME, nonce=self._claim.key.nonce)
        return kept


def open_bank(scene: Scene, store: str, form: str, life: int) -> tuple[OnceStore, FileLedger | MemoryLedger]:
    """The store, and the ledger beside it."""
    if store == "memory":
        trace = scene.home / f"trace.{life}.jsonl"
        return MemoryStore(), MemoryLedger(f"memory-{life}", scene.opening, trace)
    kept = SqliteStore(scene.home / DATABASE)
    return kept, FileLedger(kept, transactional=form in TRANSACTIONAL)


async def main(options: argparse.Namespace, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM, or until the process dies."""
    scene = Scene(options.home, options.seed, options.born)
    fate = Fate(scene.home, "server", options.life, options.die)
    store, ledger = open_bank(scene, options.store, options.form, options.life)
    watch_writes(
        "respond",
        lambda id, message=None, **_: message.end_to_end_id,
        lambda key: fate.reach(ServerPoint.AFTER_WRITE, key=key),
    )
    mortal: Any = MortalStore(store, fate)
    async with serve(
        bank(ledger, fate, options.form),
        scene.server_config(),
        store=mortal,
        policy=OncePolicy(lease=LEASE),
        session_timeout=SESSION_TIMEOUT,
    ) as server:
        stopping = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
        ready(str(server.port))
        await stopping.wait()


def parser() -> argparse.ArgumentParser:
    """The options that both programs have."""
    made = argparse.ArgumentParser()
    made.add_argument("--home", type=Path, required=True, help="where the files of the run lie")
    made.add_argument("--seed", type=int, required=True, help="what identities and payments follow from")
    made.add_argument("--born", type=float, required=True, help="when the identities are valid from, in epoch seconds")
    made.add_argument("--life", type=int, required=True, help="how often the program was started")
    made.add_argument("--die", default="", metavar="POINT:COUNT", help="SIGKILL at the COUNTth time at that point")
    made.add_argument("--bug", default="", help="what is done wrong")
    return made


def run(arguments: list[str], ready: Callable[[str], None]) -> None:
    """One life. ``ready`` is told the port."""
    made = parser()
    made.add_argument("--store", choices=["sqlite", "memory"], required=True)
    made.add_argument("--form", choices=FORMS, required=True)
    options = made.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    planted.plant(options.bug)
    asyncio.run(main(options, ready))
