"""Histories: what a client writes down about its payments, a file for each of its lives, and how all of it is read."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.proof.bank import FileLedger
from tests.proof.evidence import Death, How, Invocation, Ledger, Payment, Row, Run, Told
from tests.proof.fate import DEATHS, append, now
from tests.proof.scene import CLIENTS, DATABASE, Scene, account_of, nonce_of


class History:
    """One life of a client; it begins with what earlier lives have written."""

    def __init__(self, home: Path, client: str, life: int) -> None:
        self.life = life
        self._path = _path(home, client, life)
        self._begun: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._ended: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._forgotten: set[str] = set()
        for earlier in range(1, life):
            for record in lines(_path(home, client, earlier)):
                self._note(record)

    def begun(self, account: str) -> list[str]:
        """The payments of an account that were asked for, in their order."""
        return list(self._begun[account])

    def ended(self, account: str) -> list[str]:
        """Those whose end is written down."""
        return list(self._ended[account])

    def open(self, account: str) -> str | None:
        """The payment that has no end; only the last one may have none."""
        begun = self.begun(account)
        return None if not begun or self.is_over(begun[-1]) else begun[-1]

    def is_over(self, key: str) -> bool:
        """Whether nobody is to ask for the payment any more."""
        return key in self._ended[account_of(key)] or key in self._forgotten

    def invoke(self, payment: Payment) -> None:
        """It is about to be asked for."""
        self._write({"at": now(), "invoked": payment.key})

    def end(self, payment: Payment, told: Told) -> None:
        """That came of it."""
        record = {"at": told.at, "ended": payment.key, "how": told.how, "reason": told.reason}
        where = {"outcome": told.outcome.hex(), "life": told.life, "number": told.number, "replayed": told.replayed}
        self._write(record | where | {"final": told.final})

    def forget(self, key: str) -> None:
        """Take it for ended, whatever comes of it. Only a client with a bug does so."""
        self._write({"at": now(), "forgotten": key})

    def _write(self, record: dict[str, Any]) -> None:
        append(self._path, record)
        self._note(record)

    def _note(self, record: dict[str, Any]) -> None:
        match record:
            case {"invoked": key}:
                self._begun[account_of(key)][key] = None
            case {"ended": key, "final": True}:
                self._ended[account_of(key)][key] = None
            case {"forgotten": key}:
                self._forgotten.add(key)


def _path(home: Path, client: str, life: int) -> Path:
    return home / f"{client}.{life}.jsonl"


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file; none, where it is not there. A last line without an end was not written."""
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield json.loads(line)


def read_run(scene: Scene, store: str, form: str, lives: dict[str, int]) -> Run:
    """All that a run has left behind. ``lives``: how often each process was started."""
    invocations = [
        each for client in CLIENTS for life in range(1, lives[client] + 1) for each in _invocations(scene, client, life)
    ]
    nonces = {nonce_of(each.payment.key).hex(): each.payment.key for each in invocations}
    deaths = tuple(
        Death(each["who"], each["life"], each["point"], each["at"], each["key"] or nonces.get(each["nonce"]))
        for each in lines(scene.home / DEATHS)
    )
    if store == "memory":
        ledgers = tuple(_memory_ledger(scene, life) for life in range(1, lives["server"] + 1))
    else:
        ledgers = (FileLedger.read(scene.home / DATABASE, form),)
    return Run(scene.opening, ledgers, tuple(invocations), deaths)


def _invocations(scene: Scene, client: str, life: int) -> Iterator[Invocation]:
    began: dict[str, int] = {}
    for record in lines(_path(scene.home, client, life)):
        if "invoked" in record:
            began[record["invoked"]] = record["at"]
        elif "ended" in record:
            key = record["ended"]
            told = Told(
                record["at"],
                How(record["how"]),
                record["reason"],
                bytes.fromhex(record["outcome"]),
                record["life"],
                record["number"],
                record["replayed"],
            )
            yield Invocation(scene.payment_of(key), client, life, began.pop(key), told)
    for key, at in began.items():
        yield Invocation(scene.payment_of(key), client, life, at)


def _memory_ledger(scene: Scene, life: int) -> Ledger:
    rows = []
    balances = scene.opening
    for record in lines(scene.home / f"trace.{life}.jsonl"):
        rows.append(Row(**record["row"]))
        balances |= record["held"]
    return Ledger(f"memory-{life}", tuple(rows), balances)
