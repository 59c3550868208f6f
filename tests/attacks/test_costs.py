"""What a peer can make a connection hold and do: bounded by limits, and bought at the price of its own bytes."""

from __future__ import annotations

import pytest

from tests.attacks.floods import bombs, calls, controls, handshakes, records, streams
from tests.attacks.floods.attack import ATTACKS, Attack, Flood, Scene
from tests.attacks.hostile import SERVER_SIDE
from tests.attacks.judging import SCALES, Breach, Row, judge, measure
from tests.attacks.planted import PLANTED, Planted

MODULES = (controls, calls, streams, records, handshakes, bombs)
"""Where the attacks are, in the order of the table."""


@pytest.mark.parametrize(
    ("attack", "side"),
    [
        pytest.param(attack, side, id=f"{attack.name}-{side}")
        for module in MODULES
        for attack in ATTACKS
        if attack.flood.__module__ == module.__name__
        for side in attack.sides
    ],
)
def test_an_attack_costs_its_victim_what_the_limits_allow(attack: Attack, side: str, rows: list[Row]) -> None:
    rows.append(judge(attack, side))


def ask_more_and_more(scene: Scene) -> None:
    for _ in range(scene.scale**2):
        scene.say(controls=[controls.PING])


def keep_what_is_said(scene: Scene) -> None:
    kept: list[bytes] = []
    scene.on_event = lambda event: kept.append(bytes(4096))
    for _ in range(2 * scene.scale):
        scene.say(calls.PLAIN)


@pytest.mark.parametrize(
    ("flood", "breach"),
    [(ask_more_and_more, r"\d+ calls became \d+$"), (keep_what_is_said, r"\d+ bytes became \d+$")],
    ids=["work", "bytes"],
)
def test_what_grows_faster_than_the_attack_is_a_breach(flood: Flood, breach: str) -> None:
    attack = Attack(name="growth", flood=flood, ends=None, holds="100 * OBJECT", limits=controls.bursts)
    with pytest.raises(Breach, match="^growth, server: " + breach):
        judge(attack, SERVER_SIDE)


@pytest.mark.parametrize(
    ("planted", "attack"),
    [
        pytest.param(planted, attack, id=f"{planted.limit}-{attack.name}")
        for planted in PLANTED
        for attack in planted.attacks
    ],
)
def test_without_the_limit_it_costs_more(planted: Planted, attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.plant(monkeypatch)
    assert measure(attack, attack.sides[-1], SCALES[0]).breaches


def test_every_end_of_an_attack_is_taken_away_by_a_planted_bug() -> None:
    ended = {attack for attack in ATTACKS if attack.ends}
    assert ended == {attack for planted in PLANTED for attack in planted.attacks if attack.ends}
