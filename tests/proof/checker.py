"""The checker: what must hold of a run, whoever was killed when. Pure: it reads evidence, and nothing else.

What is promised is promised by a ledger. One in a file outlives the server, so what it said holds for ever. One in
memory promises nothing beyond its process: within it no payment is doubled, and what it acknowledged it has applied.
The next process starts with the opening balances, knows nothing, and executes again what it is asked again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from tests.proof.evidence import LOST, How, Run


class Violation(NamedTuple):
    """A rule, and what broke it."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


def acknowledged_is_applied(run: Run) -> Iterator[str]:
    """The row that an answer names is in its ledger, and is what was asked for."""
    rows = {(ledger.life, row.number): row for ledger in run.ledgers for row in ledger.rows}
    for key, invocations in run.by_key.items():
        payment = invocations[0].payment
        for told in (each.told for each in invocations if each.told and each.told.how is How.ANSWERED):
            row = rows.get((told.life, told.number))
            if row is None or row.key != key:
                yield f"{key} was acknowledged as {told.life}/{told.number}, which is {row}"
            elif (row.debtor, row.creditor, row.amount) != (payment.debtor, payment.creditor, payment.amount):
                yield f"{key} was acknowledged as {row}, and {payment} was asked for"


def nothing_is_doubled(run: Run) -> Iterator[str]:
    """Whatever was told of it, no payment is in a ledger twice."""
    for (life, key), rows in run.rows.items():
        if len(rows) > 1:
            yield f"{key} was applied {len(rows)} times in {life}: rows {[row.number for row in rows]}"


def refused_is_not_applied(run: Run) -> Iterator[str]:
    """What failed is not in the ledger that said so; what was always refused is in none."""
    for (life, key), told in run.told.items():
        if (life, key) in run.rows and any(each.how is How.FAILED for each in told):
            yield f"{key} failed in {life}, and was applied there"
    for key, invocations in run.by_key.items():
        refused = all(each.told and each.told.how is How.REFUSED for each in invocations)
        if refused and any((ledger.life, key) in run.rows for ledger in run.ledgers):
            yield f"{key} was refused each time, and applied"


def unknown_is_not_applied_where_atomic(run: Run) -> Iterator[str]:
    """Where effect and outcome are one transaction, a lost outcome is that of a lost effect."""
    for ledger in run.ledgers:
        for key, invocations in run.by_key.items():
            lost = any(each.told and each.told.reason == LOST for each in invocations)
            if ledger.atomic and lost and (ledger.life, key) in run.rows:
                yield f"{key} was applied in {ledger.life} without its outcome"


def nothing_is_unknown_where_recovered(run: Run) -> Iterator[str]:
    """Where handlers declare how they are recovered, every doubt ends."""
    for key, invocations in run.by_key.items():
        lost = any(each.told and each.told.reason == LOST for each in invocations)
        if lost and any(ledger.recovers for ledger in run.ledgers):
            yield f"{key} has no known outcome"


def money_is_constant(run: Run) -> Iterator[str]:
    """No money is made or lost, and the balances are those that the rows lead to."""
    for ledger in run.ledgers:
        balances = Counter(run.opening)
        for row in ledger.rows:
            balances[row.debtor] -= row.amount
            balances[row.creditor] += row.amount
        if sum(ledger.balances.values()) != sum(run.opening.values()):
            yield f"{ledger.life} holds {sum(ledger.balances.values())}, and began with {sum(run.opening.values())}"
        for account in sorted(balances.keys() | ledger.balances.keys()):
            held, due = ledger.balances.get(account, 0), balances[account]
            if held != due:
                yield f"{account} of {ledger.life} holds {held}, and its rows say {due}"
            elif held < 0:
                yield f"{account} of {ledger.life} holds {held}"


def one_outcome(run: Run) -> Iterator[str]:
    """A ledger tells the same of a payment each time, byte for byte, and at most once as something new."""
    for (life, key), told in run.told.items():
        if len({each.outcome for each in told}) > 1:
            yield f"{key} has several outcomes in {life}: {[each.outcome for each in told]}"
        fresh = sum(not each.replayed for each in told)
        if fresh > 1:
            yield f"{key} was executed {fresh} times in {life}, as its answers say"


def an_outcome_is_kept(run: Run) -> Iterator[str]:
    """In a file, what was told once is not unknown later."""
    if len(run.ledgers) != 1:
        return
    life = run.ledgers[0].life
    for key, invocations in run.by_key.items():
        known = min((told.at for told in run.told.get((life, key), ())), default=None)
        for each in invocations:
            if known is not None and each.began > known and each.told is not None and each.told.reason == LOST:
                yield f"{key} has an outcome in {life}, which was forgotten"


def order_is_kept(run: Run) -> Iterator[str]:
    """The payments of one account are applied in the order of the work list.

    A ledger in memory executes again what another one has ended, whenever it is asked again: that has no order.
    """
    for ledger in run.ledgers:
        applied: dict[str, list[int]] = {}
        for row in ledger.rows:
            if row.key in run.by_key and run.ended_by(row.key) in (None, "", ledger.life):
                applied.setdefault(row.debtor, []).append(run.by_key[row.key][0].payment.place)
        for account, places in applied.items():
            for one, other in pairwise(places):
                if one > other:
                    yield f"{account}: its payment {one} was applied before {other}"


def nothing_is_invented(run: Run) -> Iterator[str]:
    """What is in a ledger was asked for."""
    for life, key in run.rows:
        if key not in run.by_key:
            yield f"{key} is in {life}, and nobody asked for it"


def nothing_is_forgotten(run: Run) -> Iterator[str]:
    """Every payment that was begun has its end, and none of the work list was left out."""
    places: dict[str, list[int]] = {}
    for key, invocations in run.by_key.items():
        payment = invocations[0].payment
        places.setdefault(payment.debtor, []).append(payment.place)
        if not any(each.told and each.told.final for each in invocations):
            yield f"{key} was begun, and nobody knows its end"
    for account, made in places.items():
        if made != list(range(len(made))):
            yield f"{account} made its payments in the order {made}"


def kills_hit_something(run: Run) -> Iterator[str]:
    """Every kill that counts had a payment in flight."""
    for death in run.counted:
        if not run.in_flight(death):
            yield f"nothing was in flight at {death}"


RULES: dict[str, Callable[[Run], Iterator[str]]] = {
    rule.__name__: rule
    for rule in (
        acknowledged_is_applied,
        nothing_is_doubled,
        refused_is_not_applied,
        unknown_is_not_applied_where_atomic,
        nothing_is_unknown_where_recovered,
        money_is_constant,
        one_outcome,
        an_outcome_is_kept,
        order_is_kept,
        nothing_is_invented,
        nothing_is_forgotten,
        kills_hit_something,
    )
}


def check(run: Run) -> list[Violation]:
    """All that is wrong; nothing, where all is well."""
    return [Violation(name, what) for name, rule in RULES.items() for what in rule(run)]
