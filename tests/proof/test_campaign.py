"""No payment is lost or doubled, whichever process is killed whenever, and whatever becomes of the lines meanwhile.

With a store in memory the ledger dies with its process, and so do all promises. So it is mostly the clients that die.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from tests.proof.bank import RECOVERING
from tests.proof.campaign import Campaign, Report, Setting
from tests.proof.plans import each
from tests.proof.scene import Scene

SEED = int(os.environ.get("PROOF_SEED") or (1 if os.environ.get("CI") else random.randrange(1 << 32)))
"""Of payments, weather and deaths; what meets what is up to the machine."""

LONGEST = each("sqlite", "atomic", server=5, client=5, random=3)
SETTINGS = [
    LONGEST,
    each("sqlite", "asked", server=5, client=3, random=3),
    each("sqlite", "transactional", server=3, client=2, random=2),
    each("sqlite", "plain", server=3, client=2, random=2),
    each("memory", "plain", server=2, client=5, random=4),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_no_payment_is_lost_or_doubled(setting: Setting, tmp_path: Path, reports: list[Report]) -> None:
    report = asyncio.run(Campaign(Scene(tmp_path, SEED, time.time()), setting).run())
    reports.append(report)
    assert not report.violations, "\n".join(map(str, [f"seed {SEED}", *report.violations]))
    assert not setting.kills.keys() - report.hits.keys()
    assert all(report.hits[kind] >= kills for kind, kills in setting.kills.items())
    assert report.counts["acknowledged"] > len(setting.kills)
    assert report.counts["replays"] > 0, "nothing was told again, so nothing was proved"
    assert report.counts["resumed"] > 0 or setting is not LONGEST, "no session has gone on over another line"
    doubts = setting.store == "sqlite" and setting.form not in RECOVERING
    assert (report.counts["unknown"] > 0) is doubts, "of claims in a file whose owner died, where nobody recovers them"
