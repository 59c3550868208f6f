"""The table at the end: how often who was killed where, and what became of the payments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.proof.campaign import KINDS, Report

COUNTS = ("payments", "acknowledged", "refused", "unknown", "replays", "resumed")
WIDTH = 24


def table(reports: Sequence[Report]) -> list[str]:
    """The lines that people read: a column for each setting, campaigns of one setting added up."""
    columns = {str(each.setting): [one for one in reports if str(one.setting) == str(each.setting)] for each in reports}
    hits = {name: sum((each.hits for each in own), Counter()) for name, own in columns.items()}
    counts = {name: sum((each.counts for each in own), Counter()) for name, own in columns.items()}

    def seeds(own: Sequence[Report]) -> str:
        return f"{own[0].seed}" if len(own) == 1 else f"{own[0].seed} … {own[-1].seed}"

    def row(title: str, *values: object) -> str:
        return f"{title:<{WIDTH}}" + "".join(f"{value!s:>{WIDTH}}" for value in values)

    return [
        row("kill -9 with a payment", *columns),
        *(row(f"  {who} {point}", *(hits[name][who, point] for name in columns)) for who, point in KINDS),
        row("  in all", *(hits[name].total() for name in columns)),
        row("kills that hit nothing", *(sum(each.misses for each in own) for own in columns.values())),
        row("faults of lines", *(sum(each.faults.total() for each in own) for own in columns.values())),
        *(row(what, *(counts[name][what] for name in columns)) for what in COUNTS),
        row("violations", *(sum(len(each.violations) for each in own) for own in columns.values())),
        row("seconds", *(f"{sum(each.seconds for each in own):.1f}" for own in columns.values())),
        row("seeds", *(seeds(own) for own in columns.values())),
    ]
