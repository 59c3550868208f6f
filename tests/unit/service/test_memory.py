"""The store in memory, beside the contract of all stores: what is not its owner's stays as it is."""

from __future__ import annotations

from dataclasses import replace

from ratatoskr.service import Claim, MemoryStore, OnceKey
from tests.unit.service.support import run

MINE = Claim(OnceKey("", "device-1", bytes(16)), b"digest", b"me", lease_until=60.0, keep_until=1000.0)


def test_a_claim_of_another_owner_is_neither_released_nor_renewed() -> None:
    store = MemoryStore()
    assert run(store.claim(MINE)) is None
    held = run(store.claim(MINE))
    assert not run(store.release(replace(MINE, owner=b"another")))
    run(store.renew([replace(MINE, owner=b"another")], 120.0))
    assert run(store.claim(MINE)) == held
    assert run(store.release(MINE))
    assert len(store) == 0


def test_what_is_forgotten_meanwhile_is_not_renewed() -> None:
    store = MemoryStore()
    run(store.renew([MINE], 120.0))
    assert len(store) == 0
