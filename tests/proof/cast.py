"""The cast of a campaign: who lives, who dies, who comes back. A bank and its clients, with the proxy between them."""

from __future__ import annotations

import random
import signal
from collections import Counter
from functools import partial

from tests.proof.fate import RANDOM, record_death
from tests.proof.programs import Births, Life
from tests.proof.proxy import Proxy
from tests.proof.scene import SERVER, Scene

LATEST = 6
"""How often a process comes to its point at most, until it dies."""
BYTES = (4_000, 40_000)
"""Bytes from clients that pass before a kill from outside, at least and at most."""


class Cast:
    """Starts and kills processes. ``server`` are options for each life of the server; ``bug`` is planted in all."""

    def __init__(
        self, scene: Scene, births: Births, proxy: Proxy, source: random.Random, *, server: list[str], bug: str
    ) -> None:
        self._scene = scene
        self._births = births
        self._proxy = proxy
        self._random = source
        self._options = [*scene.arguments(), f"--bug={bug}"]
        self._server_options = server
        self._running: dict[str, Life] = {}
        self.lives: Counter[str] = Counter()
        """How often each of them was started."""

    async def start(self, who: str, *options: str) -> Life:
        """The next life."""
        self.lives[who] += 1
        number = self.lives[who]
        log = self._scene.home / f"{who}.{number}.log"
        arguments = [*self._options, f"--life={number}", *options]
        if who == SERVER:
            life = await self._births.start("server", [*arguments, *self._server_options], log)
            self._proxy.target = int(await life.ready())
        else:
            url = f"ws://localhost:{self._proxy.port}"
            life = await self._births.start("client", [*arguments, f"--name={who}", f"--url={url}"], log)
            await life.ready()
        self._running[who] = life
        return life

    async def live_and_die(self, who: str, point: str, *, latest: int = LATEST) -> None:
        """A life that ends by SIGKILL, at that point at the latest when it comes there so often, or from outside."""
        if point == RANDOM:
            life = await self.start(who)
            self._proxy.up.after_bytes(self._random.randint(*BYTES), partial(self._kill, who, self.lives[who]))
        else:
            life = await self.start(who, f"--die={point}:{self._random.randint(1, latest)}")
        await life.ended(-signal.SIGKILL)

    async def kill(self, who: str) -> None:
        """It ends at once, and nobody counts it."""
        life = self._running.pop(who)
        life.kill()
        await life.ended(-signal.SIGKILL)

    def _kill(self, who: str, life: int) -> None:
        record_death(self._scene.home, who, life, RANDOM)
        self._running[who].kill()

    async def leave(self, *names: str) -> None:
        """Those end by themselves, as SIGTERM tells them."""
        for who in names:
            self._running[who].terminate()
        for who in names:
            await self._running.pop(who).ended(0)
