"""What the demo shows: a line for each step, with what was verified in it."""

from __future__ import annotations

import time
from typing import Any

from ratatoskr_cli.screen import Pace, Screen, printable, to_json

_WHAT, _OUTCOME = 40, 24
_BLINK = 0.02
"""Seconds that a terminal shows how far a step is, at least."""


class Report:
    """Steps as they happen, for people or as one JSON object a line."""

    def __init__(self, *, as_json: bool) -> None:
        self._screen = Screen()
        self._as_json = as_json
        self.steps = 0
        self._current = "begin"
        self._began = 0.0
        self._pace = Pace(_BLINK)

    def begin(self, url: str, *facts: str) -> None:
        """Where it happens, from now on."""
        self._began = time.monotonic()
        if self._as_json:
            self._screen.line(to_json({"demo": url, "facts": facts}))
            return
        self._screen.line(("Yggdrasil sandbox", "bold"), " on ", (url, "bold cyan"))
        for fact in facts:
            self._screen.line((f"  {fact}", "dim"))
        self._screen.line()
        self._screen.line((f"   {'step':<{_WHAT}}{'answer':<{_OUTCOME}}verified", "dim"))

    def doing(self, what: str) -> None:
        """Name the next step; a failure names it too."""
        self._current = what
        self._pace = Pace(_BLINK)
        self._show("")

    def progress(self, how_far: str) -> None:
        """How far the step is that was named last; for terminals only, and not more often than they show it."""
        if self._pace.due():
            self._show(how_far)

    def _show(self, how_far: str) -> None:
        if not self._as_json:
            self._screen.draft((" · ", "dim"), f"{self._current:<{_WHAT}}", (printable(how_far), "dim"))

    def step(self, outcome: str, *verified: str) -> None:
        """The step that was named last is done, and all of this was verified."""
        self.steps += 1
        if self._as_json:
            step = {"step": self.steps, "ok": True, "what": self._current, "outcome": outcome, "verified": verified}
            self._screen.line(to_json(step))
            return
        self._screen.line(
            (" ✓ ", "bold green"),
            f"{self._current:<{_WHAT}}",
            (f"{printable(outcome):<{_OUTCOME}}", "bold"),
            (printable(", ".join(verified)), "dim"),
        )

    def failed(self, why: str) -> None:
        """The step that was named last has failed."""
        if self._as_json:
            failure: dict[str, Any] = {"step": self.steps + 1, "ok": False, "what": self._current, "error": why}
            self._screen.line(to_json(failure))
            return
        self._screen.line((" ✗ ", "bold red"), f"{self._current:<{_WHAT}}", ("failed", "bold red"))

    def end(self, receipts: int) -> None:
        """All steps are done."""
        elapsed = time.monotonic() - self._began
        if self._as_json:
            summary = {"ok": True, "steps": self.steps, "receipts": receipts, "seconds": round(elapsed, 3)}
            self._screen.line(to_json(summary))
            return
        self._screen.line()
        self._screen.line(
            ("Paid once, refunded once, nothing lost. ", "bold green"),
            f"{receipts} receipts verified offline, {elapsed:.1f} s.",
        )
