"""The long proof: kills processes while they pay, as often as you like, and judges what they leave behind.

Prints progress, then a table. The exit code is 1 where a payment was lost or doubled, or any other rule was broken; the
files of that campaign are kept then.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.proof.campaign import Campaign, Report, Setting
from tests.proof.plans import BANKS, evenly
from tests.proof.scene import Scene
from tests.proof.table import table

LONGEST = 100
"""Kills in one campaign; then a new bank opens."""


def settings(kills: int) -> list[Setting]:
    """Campaigns with so many kills in all, over all stores and forms of handlers by turns."""
    count = -(-kills // LONGEST)
    count += -count % len(BANKS)
    shares = [kills // count + (place < kills % count) for place in range(count)]
    return [
        evenly(*BANKS[place % len(BANKS)], share, first=sum(shares[:place]))
        for place, share in enumerate(shares)
        if share
    ]


def say(text: str, end: str = "\n") -> None:
    """Progress."""
    sys.stderr.write(text + end)
    sys.stderr.flush()


def run(setting: Setting, seed: int, said: str) -> Report:
    """One campaign."""
    home = Path(tempfile.mkdtemp(prefix="proof-"))

    def progress(killed: int) -> None:
        if sys.stderr.isatty():
            say(f"\r{said}, {killed} killed", end="")

    said = f"{said}: {setting}, seed {seed}"
    report = asyncio.run(Campaign(Scene(home, seed, time.time()), setting, progress=progress).run())
    told = f"{report.hits.total()} killed while they paid, {len(report.violations)} violations, {report.seconds:.0f} s"
    say(f"\r{said}, {told}")
    if report.violations:
        say("\n".join(map(str, [*report.violations, f"the files are in {home}"])))
    else:
        shutil.rmtree(home)
    return report


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="kills that hit a payment, in all (default: 300)")
    parser.add_argument("--seed", type=int, help="of the first campaign; each later one has the next (default: random)")
    options = parser.parse_args(arguments)
    if options.kills < 1:
        parser.error("--kills must be above zero")
    first = random.randrange(1 << 32) if options.seed is None else options.seed
    planned = settings(options.kills)
    reports = [run(each, first + place, f"{place + 1} of {len(planned)}") for place, each in enumerate(planned)]
    sys.stdout.write("\n".join([*table(reports), ""]))
    return 1 if any(each.violations for each in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
