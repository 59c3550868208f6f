"""The proof sees the bugs of :mod:`tests.proof.planted`, each by the rules that are about it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.proof.campaign import CLIENT, Campaign, Setting
from tests.proof.fate import ClientPoint, ServerPoint
from tests.proof.planted import BUGS
from tests.proof.scene import SERVER, Scene

READ = (CLIENT, ClientPoint.AFTER_ANSWER)
DONE = (SERVER, ServerPoint.AFTER_EFFECT)
SAID = (SERVER, ServerPoint.AFTER_WRITE)

CAUGHT = [
    ("claim_ignored", "plain", READ, {"nothing_is_doubled", "one_outcome"}),
    ("claim_ignored", "transactional", READ, {"an_outcome_is_kept"}),
    ("old_claim_executed", "plain", DONE, {"nothing_is_doubled"}),
    ("nonce_drawn", "plain", READ, {"nothing_is_doubled", "one_outcome"}),
    ("nonce_drawn", "transactional", READ, {"nothing_is_doubled", "one_outcome"}),
    ("forgotten_at_ack", "transactional", READ, {"nothing_is_forgotten"}),
    ("outcome_after_answer", "plain", SAID, {"an_outcome_is_kept"}),
    ("effect_committed_alone", "transactional", DONE, {"unknown_is_not_applied_where_atomic"}),
    ("effect_committed_alone", "atomic", DONE, {"nothing_is_doubled"}),
]
"""The bug, the handlers, where is killed, and rules that must be broken."""
KILLS = 4


@pytest.mark.parametrize(("bug", "form", "kill", "rules"), CAUGHT, ids=lambda each: each if type(each) is str else "")
def test_a_bug_is_seen(bug: str, form: str, kill: tuple[str, str], rules: set[str], tmp_path: Path) -> None:
    campaign = Campaign(Scene(tmp_path, 1, time.time()), Setting("sqlite", form, {kill: KILLS}), bug=bug)
    broken = {violation.rule for violation in asyncio.run(campaign.run()).violations}
    assert rules <= broken
    if (bug, form) == ("claim_ignored", "transactional"):
        assert "nothing_is_doubled" not in broken, "the store commits for the owner of the claim alone"


def test_every_bug_is_planted() -> None:
    assert {bug for bug, *_ in CAUGHT} == BUGS.keys()
