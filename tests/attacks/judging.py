"""How an attack is measured and judged, and the table of what all of them cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from string import ascii_letters
from typing import NamedTuple

from ratatoskr.messages.validator import PAYLOAD_FIELDS
from ratatoskr.session.incoming import DEFAULT_CREDIT
from tests.attacks.floods.attack import Attack, Claim, Scene
from tests.attacks.meter import BytesMeter, Meter, TimeMeter, WorkMeter

SCALES = (1, 4)
"""An attack is run at both: four times the bytes, or four times the limit, may cost four times the work."""
WORK_GROWTH = 4.5
"""Times by which work may grow from one scale to the other; half a time is for what does not grow evenly."""
LEEWAY = 4096
"""Bytes by which containers may differ from one moment to another."""
CONSTANTS = {
    # The bytes of a record exist so often at once: as chunk, body, plaintext (3), flight, envelope, envelope without
    # its first byte (6), message, payload, and parsed payload (9). Who refuses it earlier has fewer.
    "COPIES": 9,
    # The bytes of a request exist so often while a handler works on it: as envelope, message, and parsed payload.
    "KEPT": 3,
    # Objects of one request or item: call, event, message, evidence. A connection has eight times as many.
    "OBJECT": 2048,
    # What the parser makes of one field, however short it is on the wire.
    "FIELD": 64,
    "PAYLOAD_FIELDS": PAYLOAD_FIELDS,
    "DEFAULT_CREDIT": DEFAULT_CREDIT,
}
"""What a formula may name beside limits and ``connections``; sizes in bytes."""


class Breach(AssertionError):
    """An attack cost more than it may."""


class Row(NamedTuple):
    """One line of the table: what an attack cost at the larger scale. Sizes in bytes."""

    attack: str
    victim: str
    spent: int
    peak: int
    bound: int
    nanoseconds: float
    calls: float
    outcome: str
    formula: str


class Measured(NamedTuple):
    """What one scale cost."""

    scene: Scene
    spent: int
    peak: int
    bound: int
    calls: int
    breaches: list[str]


def run(attack: Attack, side: str, scale: int, meter: Meter) -> Scene:
    """One run."""
    scene = Scene(attack, side, scale, meter)
    meter.start()
    try:
        attack.flood(scene)
    finally:
        meter.stop()
    return scene


def measure(attack: Attack, side: str, scale: int) -> Measured:
    """Run the attack for its bytes and for its work, and judge both."""
    held, work = BytesMeter(), WorkMeter()
    run(attack, side, scale, held)
    scene = run(attack, side, scale, work)
    names = {each.name: getattr(scene.limits, each.name) for each in fields(scene.limits)}
    names["connections"] = len(scene.victims)
    bound = int(eval(attack.holds, {"__builtins__": {}}, names | CONSTANTS))
    peak = held.peak + work.parsed
    breaches = [f"not so: {each}" for each in scene.missing] + [
        f"{each.what} {each.value:g} of {each.most:g}"
        for each in (
            *scene.claims,
            Claim("bytes", peak, bound),
            Claim("signatures", work.signatures, scene.flights + scene.signatures),
            Claim("verifications", work.verifications, scene.flights + scene.verifications),
        )
        if each.value > each.most
    ]
    ends = sorted({"nothing" if each.closed is None else each.closed.rule for each in scene.victims})
    if ends != [attack.ends or "nothing"]:
        breaches.append(f"ended by {' and '.join(ends)}, not by {attack.ends or 'nothing'}")
    return Measured(scene, work.spent, peak, bound, work.calls, breaches)


def judge(attack: Attack, side: str) -> Row:
    """Measure the attack at both scales. Raises Breach where it costs more than it may."""
    small, large = (measure(attack, side, scale) for scale in SCALES)
    breaches = [*small.breaches, *large.breaches]
    if large.calls > small.calls * WORK_GROWTH:
        breaches.append(f"{small.calls} calls became {large.calls}")
    if large.peak - small.peak > large.bound - small.bound + LEEWAY:
        breaches.append(f"{small.peak} bytes became {large.peak}")
    if breaches:
        raise Breach(f"{attack.name}, {side}: " + "; ".join(breaches))
    time = TimeMeter()
    run(attack, side, SCALES[-1], time)
    claims = [f"{each.what} {each.value:g} of {each.most:g}" for each in large.scene.claims]
    return Row(
        attack.name,
        side,
        large.spent,
        large.peak,
        large.bound,
        time.nanoseconds / large.spent,
        large.calls / large.spent,
        ", ".join([attack.ends or "goes on", *claims]),
        attack.holds,
    )


def table(rows: Iterable[Row]) -> list[str]:
    """The lines that people read; a letter behind each limit names its formula, which follows."""
    sizes = f"{'attacker':>9} {'peak':>9} {'limit':>11} {'ns/byte':>8} {'calls/byte':>10}"
    lines = [f"{'attack':<40} {'victim':<6} {sizes}  outcome"]
    letters: dict[str, str] = {}
    for row in rows:
        letter = letters.setdefault(row.formula, ascii_letters[len(letters)])
        lines.append(
            f"{row.attack:<40} {row.victim:<6} {row.spent:>9} {row.peak:>9} {row.bound:>9} {letter} "
            f"{row.nanoseconds:>8.0f} {row.calls:>10.3f}  {row.outcome}"
        )
    formulas = [f"  {letter}  {formula}" for formula, letter in letters.items()]
    return [*lines, "limits, with " + ", ".join(f"{name} {value}" for name, value in CONSTANTS.items()), *formulas]
