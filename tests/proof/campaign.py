"""A campaign: a bank and its clients, which are killed until enough kills have hit a payment. Then all is judged.

Each process is started with the point where it is to die, or is killed from outside when a random number of bytes has
passed; then it is started again. Meanwhile the lines between them have weather. What all of them leave behind is judged
by the checker, once all is at rest.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.proof.bank import FileLedger
from tests.proof.cast import Cast
from tests.proof.checker import Violation, check
from tests.proof.evidence import LOST, Death, How, Run
from tests.proof.fate import RANDOM, ClientPoint, ServerPoint
from tests.proof.history import read_run
from tests.proof.programs import Births
from tests.proof.proxy import Proxy
from tests.proof.scene import CLIENTS, DATABASE, SERVER, Scene
from tests.proof.weather import Weather

CLIENT = "client"
KINDS: tuple[tuple[str, str], ...] = (
    *((SERVER, point) for point in (*ServerPoint, RANDOM)),
    *((CLIENT, point) for point in (*ClientPoint, RANDOM)),
)
"""Who is killed where, in the order of the table."""
ROUNDS = 10
"""A kill that hit nothing is made again in the next round."""
DISTANCE = 0.003
"""Seconds from the bank to its clients. So what a bank wrote with its last breath has not arrived yet."""

Kills = Counter[tuple[str, str]]


@dataclass(frozen=True)
class Setting:
    """What is proved: where the outcomes lie, how the handlers are written, how many kills of each kind must hit."""

    store: str
    form: str
    kills: Mapping[tuple[str, str], int]

    def __str__(self) -> str:
        return f"{self.store}, {self.form}"


@dataclass
class Report:
    """What came of it: one line of the table, and what is wrong."""

    setting: Setting
    seed: int
    violations: list[Violation] = field(default_factory=list)
    hits: Kills = field(default_factory=Counter)
    """Kills with a payment in flight."""
    misses: int = 0
    """Kills without one, which do not count."""
    counts: Counter[str] = field(default_factory=Counter)
    """Payments, and what became of them."""
    faults: Counter[str] = field(default_factory=Counter)
    """Weather."""
    seconds: float = 0.0


class Campaign:
    """One bank, from its opening to the verdict. ``progress`` is told after each kill, how many there were."""

    def __init__(
        self, scene: Scene, setting: Setting, *, bug: str = "", progress: Callable[[int], None] = lambda _: None
    ) -> None:
        self._scene = scene
        self._setting = setting
        self._bug = bug
        self._progress = progress
        self._random = random.Random(f"{scene.seed} {setting}")
        self._killed = 0
        self._report = Report(setting, scene.seed)

    async def run(self) -> Report:
        """Kill until each kind of kill has hit often enough, then judge."""
        began = time.monotonic()
        setting, report = self._setting, self._report
        if setting.store == "sqlite":
            FileLedger.create(self._scene.home / DATABASE, self._scene.opening)
        options = [f"--store={setting.store}", f"--form={setting.form}"]
        async with Births() as births, Proxy() as proxy:
            proxy.down.distance = DISTANCE
            cast = Cast(self._scene, births, proxy, self._random, server=options, bug=self._bug)
            for _ in range(ROUNDS):
                missing = Counter(setting.kills) - report.hits
                if not missing:
                    break
                await self._round(cast, proxy, missing)
                report.hits = Counter(map(kind_of, self._read(cast).counted))
            if setting.store == "sqlite":
                await self._audit(cast)
        run = self._read(cast)
        report.violations = check(run)
        report.misses = len(run.deaths) - len(run.counted)
        report.counts = count(run)
        report.counts["resumed"] = resumed(self._scene.home)
        report.seconds = time.monotonic() - began
        return report

    async def _round(self, cast: Cast, proxy: Proxy, kills: Kills) -> None:
        """Make these kills, then let all come to rest."""
        weather = Weather(proxy, self._random, self._report.faults)
        dooms: dict[str, list[str]] = {who: [] for who in (SERVER, *CLIENTS)}
        for who, point in self._random.sample([*kills.elements()], kills.total()):
            dooms[SERVER if who == SERVER else min(CLIENTS, key=lambda each: len(dooms[each]))].append(point)
        raging = asyncio.create_task(weather.last())
        try:
            async with asyncio.TaskGroup() as group:
                for who, points in dooms.items():
                    group.create_task(self._lives(cast, who, points))
        finally:
            raging.cancel()
            proxy.clear()
        await cast.leave(*CLIENTS)
        await cast.leave(SERVER)

    async def _lives(self, cast: Cast, who: str, points: list[str]) -> None:
        """A life for each of these deaths, and one that goes on."""
        for point in points:
            await cast.live_and_die(who, point)
            self._killed += 1
            self._progress(self._killed)
        await cast.start(who)

    async def _audit(self, cast: Cast) -> None:
        """Every payment is asked for once more: outcomes in a file are told again, byte for byte."""
        await cast.start(SERVER)
        async with asyncio.TaskGroup() as group:
            for client in CLIENTS:
                group.create_task(cast.start(client, "--audit"))
        await cast.leave(*CLIENTS)
        await cast.leave(SERVER)

    def _read(self, cast: Cast) -> Run:
        """What there is by now, with the kills that count."""
        run = read_run(self._scene, self._setting.store, self._setting.form, cast.lives)
        return replace(run, counted=tuple(each for each in run.deaths if run.in_flight(each)))


def kind_of(death: Death) -> tuple[str, str]:
    """Who was killed where."""
    return (SERVER if death.who == SERVER else CLIENT, death.point)


def resumed(home: Path) -> int:
    """How many sessions have gone on over another line, as the bank says."""
    return sum(log.read_text(encoding="utf-8").count(" resumed: ") for log in home.glob(f"{SERVER}.*.log"))


def count(run: Run) -> Counter[str]:
    """What became of the payments."""
    counts = Counter(payments=len(run.by_key))
    for invocations in run.by_key.values():
        told = [each.told for each in invocations if each.told is not None]
        hows = {each.how for each in told}
        if How.ANSWERED in hows:
            counts["acknowledged"] += 1
        elif How.FAILED in hows:
            counts["refused"] += 1
        elif any(each.reason == LOST for each in told):
            counts["unknown"] += 1
        counts["replays"] += sum(each.replayed for each in told)
    return counts
