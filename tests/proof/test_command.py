"""The long run: how it divides its kills, and what it says."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.proof.__main__ import LONGEST, main, settings
from tests.proof.campaign import CLIENT, KINDS, Report, Setting
from tests.proof.checker import Violation
from tests.proof.plans import BANKS, each, evenly
from tests.proof.scene import SERVER
from tests.proof.table import table


@pytest.mark.parametrize("kills", [1, 2, 3, 50, 299, 300, 301, 1000])
def test_a_long_run_makes_as_many_kills_as_it_was_told(kills: int) -> None:
    planned = settings(kills)
    assert sum(sum(each.kills.values()) for each in planned) == kills
    assert max(sum(each.kills.values()) for each in planned) <= LONGEST
    forms = Counter((each.store, each.form) for each in planned)
    assert forms.keys() <= set(BANKS)
    assert len(set(forms.values())) == 1
    kinds = sum((Counter(each.kills) for each in planned), Counter())
    assert max(kinds.values()) - min(kinds[kind] for kind in KINDS) <= len(planned)


def test_kills_are_even_or_as_they_were_told() -> None:
    assert sorted(evenly("sqlite", "plain", 25).kills.values()) == [2] * 5 + [3] * 5
    told = each("sqlite", "plain", server=5, client=3, random=2).kills
    assert Counter(told.values()) == {5: 5, 3: 3, 2: 2}
    assert told.keys() == set(KINDS)


def test_help_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "--kills" in capsys.readouterr().out


def test_no_kills_are_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--kills", "0"])
    assert end.value.code == 2
    assert "--kills must be above zero" in capsys.readouterr().err


def test_the_table_adds_up_campaigns_of_one_setting() -> None:
    plain, other = Setting("sqlite", "plain", {}), Setting("memory", "plain", {})
    hits = Counter({(SERVER, "after-claim"): 3, (CLIENT, "random"): 1})
    counts = Counter(payments=10, acknowledged=8, unknown=2)
    wrong = [Violation("rule", "what")]
    reports = [
        Report(plain, 7, hits=hits, misses=1, counts=counts, seconds=1.25),
        Report(other, 8, hits=hits, counts=counts, violations=wrong),
        Report(plain, 9, hits=hits, misses=2, counts=counts, faults=Counter(reset=4), seconds=1.5),
    ]
    lines = {line[:24].strip(): line[24:].split() for line in table(reports)}
    assert lines["kill -9 with a payment"] == ["sqlite,", "plain", "memory,", "plain"]
    assert lines["server after-claim"] == ["6", "3"]
    assert lines["client random"] == ["2", "1"]
    assert lines["in all"] == ["8", "4"]
    assert lines["kills that hit nothing"] == ["3", "0"]
    assert lines["faults of lines"] == ["4", "0"]
    assert lines["payments"] == ["20", "10"]
    assert lines["unknown"] == ["4", "2"]
    assert lines["violations"] == ["0", "1"]
    assert lines["seconds"] == ["2.8", "0.0"]
    assert lines["seeds"] == ["7", "…", "9", "8"]
