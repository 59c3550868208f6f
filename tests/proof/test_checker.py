"""Each rule of the checker, by hand-made evidence: what is allowed breaks none, and each bad run breaks one alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.proof.checker import RULES, check
from tests.proof.evidence import LOST, Death, How, Invocation, Ledger, Payment, Row, Run, Told

OPENING = {"a": 100, "b": 100}
FILE = "file"


def payment(place: int = 0, debtor: str = "a", amount: int = 10) -> Payment:
    return Payment(f"{debtor}/{place}", debtor, "b" if debtor == "a" else "a", amount, place)


def asked(payment: Payment, began: int, told: Told | None = None, *, life: int = 1) -> Invocation:
    return Invocation(payment, "loop", life, began, told)


def answered(at: int, number: int, *, life: str = FILE, replayed: bool = False) -> Told:
    return Told(at, How.ANSWERED, outcome=b"%d" % number, life=life, number=number, replayed=replayed)


def failed(at: int, *, life: str = FILE, replayed: bool = False) -> Told:
    return Told(at, How.FAILED, "NO_FUNDS", b"no funds", life, replayed=replayed)


def unknown(at: int, reason: str = LOST) -> Told:
    return Told(at, How.UNKNOWN, reason)


def refused(at: int) -> Told:
    return Told(at, How.REFUSED, "GOING_AWAY")


def ledger(*payments: Payment, life: str = FILE, atomic: bool = False) -> Ledger:
    """These payments were applied, in this order."""
    rows = tuple(Row(n, p.key, p.debtor, p.creditor, p.amount) for n, p in enumerate(payments, 1))
    balances = dict(OPENING)
    for each in payments:
        balances[each.debtor] -= each.amount
        balances[each.creditor] += each.amount
    return Ledger(life, rows, balances, atomic)


def run(*invocations: Invocation, ledgers: tuple[Ledger, ...] = (), deaths: tuple[Death, ...] = ()) -> Run:
    return Run(OPENING, ledgers or (ledger(),), invocations, deaths, deaths)


FIRST, SECOND, THIRD = (payment(place) for place in range(3))
TOLD = asked(FIRST, 1, answered(2, 1))
"""The first payment, as it should be."""

ALLOWED: dict[str, Run] = {
    "nothing": run(),
    "an answer, told again": run(TOLD, asked(FIRST, 3, answered(4, 1, replayed=True)), ledgers=(ledger(FIRST),)),
    "an answer that only its repetition brought": run(
        asked(FIRST, 1), asked(FIRST, 5, answered(6, 1, replayed=True), life=2), ledgers=(ledger(FIRST),)
    ),
    "a failure": run(asked(FIRST, 1, failed(2)), asked(FIRST, 3, failed(4, replayed=True))),
    "refused, then done": run(asked(FIRST, 1, refused(2)), asked(FIRST, 3, answered(4, 1)), ledgers=(ledger(FIRST),)),
    "refused, then unknown, and not done": run(asked(FIRST, 1, refused(2)), asked(FIRST, 3, unknown(4))),
    "unknown, and done": run(asked(FIRST, 1, unknown(2)), ledgers=(ledger(FIRST),)),
    "unknown, then known": run(
        asked(FIRST, 1, unknown(2, "TRANSPORT_LOST")), asked(FIRST, 3, answered(4, 1)), ledgers=(ledger(FIRST),)
    ),
    "unknown in a transaction, and not done": run(asked(FIRST, 1, unknown(2)), ledgers=(ledger(atomic=True),)),
    "three in a row, and two accounts": run(
        TOLD,
        asked(payment(0, "b"), 1, answered(3, 2)),
        asked(SECOND, 3, failed(4)),
        asked(THIRD, 5, answered(6, 3)),
        ledgers=(ledger(FIRST, payment(0, "b"), THIRD),),
    ),
    "done again by the next process, in another order": run(
        asked(FIRST, 1, answered(2, 1, life="m1")),
        asked(SECOND, 3, answered(4, 2, life="m1")),
        asked(SECOND, 5, answered(6, 1, life="m2")),
        asked(FIRST, 7, answered(8, 2, life="m2")),
        ledgers=(ledger(FIRST, SECOND, life="m1"), ledger(SECOND, FIRST, life="m2")),
    ),
    "failed in one process, done by the next": run(
        asked(FIRST, 1, failed(2, life="m1")),
        asked(FIRST, 3, answered(4, 1, life="m2")),
        ledgers=(ledger(life="m1"), ledger(FIRST, life="m2")),
    ),
    "done again by the next process": run(
        asked(FIRST, 1, answered(2, 1, life="m1")),
        asked(SECOND, 3, answered(4, 1, life="m2")),
        asked(FIRST, 5, answered(6, 2, life="m2")),
        ledgers=(ledger(FIRST, life="m1"), ledger(SECOND, FIRST, life="m2")),
    ),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_allowed_breaks_no_rule(name: str) -> None:
    assert check(ALLOWED[name]) == []


BROKEN: dict[tuple[str, str], Run] = {
    ("acknowledged_is_applied", "lost"): run(TOLD),
    ("acknowledged_is_applied", "named by another's row"): run(
        TOLD,
        asked(SECOND, 3, answered(4, 1)),
        ledgers=(ledger(FIRST),),
    ),
    ("acknowledged_is_applied", "another amount"): run(TOLD, ledgers=(ledger(payment(amount=11)),)),
    ("acknowledged_is_applied", "lost with the process that did not acknowledge it"): run(
        asked(FIRST, 1, answered(2, 1, life="m2")),
        ledgers=(ledger(FIRST, life="m1"), ledger(life="m2")),
    ),
    ("nothing_is_doubled", "acknowledged"): run(TOLD, ledgers=(ledger(FIRST, FIRST),)),
    ("nothing_is_doubled", "unknown"): run(asked(FIRST, 1, unknown(2)), ledgers=(ledger(FIRST, FIRST),)),
    ("nothing_is_doubled", "in one of two processes"): run(
        asked(FIRST, 1, answered(2, 1, life="m2")),
        ledgers=(ledger(life="m1"), ledger(FIRST, FIRST, life="m2")),
    ),
    ("refused_is_not_applied", "failed"): run(asked(FIRST, 1, failed(2)), ledgers=(ledger(FIRST),)),
    ("unknown_is_not_applied_where_atomic", "half a transaction"): run(
        asked(FIRST, 1, unknown(2)), ledgers=(ledger(FIRST, atomic=True),)
    ),
    ("nothing_is_unknown_where_recovered", "and not done"): run(
        asked(FIRST, 1, unknown(2)), ledgers=(replace(ledger(), recovers=True),)
    ),
    ("money_is_constant", "made"): run(ledgers=(replace(ledger(), balances={"a": 100, "b": 110}),)),
    ("money_is_constant", "in another account"): run(ledgers=(replace(ledger(), balances={"a": 90, "b": 110}),)),
    ("money_is_constant", "an account that nobody has"): run(
        ledgers=(replace(ledger(), balances={"a": 100, "b": 90, "c": 10}),)
    ),
    ("money_is_constant", "less than nothing"): run(
        asked(payment(amount=101), 1, answered(2, 1)), ledgers=(ledger(payment(amount=101)),)
    ),
    ("one_outcome", "two answers"): run(
        TOLD,
        asked(FIRST, 3, replace(answered(4, 1, replayed=True), outcome=b"other words")),
        ledgers=(ledger(FIRST),),
    ),
    ("one_outcome", "executed twice, as it says"): run(TOLD, asked(FIRST, 3, answered(4, 1)), ledgers=(ledger(FIRST),)),
    ("an_outcome_is_kept", "forgotten"): run(TOLD, asked(FIRST, 3, unknown(4)), ledgers=(ledger(FIRST),)),
    ("order_is_kept", "the second before the first"): run(
        asked(FIRST, 1, answered(2, 2)), asked(SECOND, 3, answered(4, 1)), ledgers=(ledger(SECOND, FIRST),)
    ),
    ("order_is_kept", "in the process that told their ends"): run(
        asked(FIRST, 1, answered(2, 2, life="m2")),
        asked(SECOND, 3, answered(4, 1, life="m2")),
        ledgers=(ledger(life="m1"), ledger(SECOND, FIRST, life="m2")),
    ),
    ("order_is_kept", "unknown, and done late"): run(
        asked(FIRST, 1, unknown(2)), asked(SECOND, 3, answered(4, 1)), ledgers=(ledger(SECOND, FIRST),)
    ),
    ("nothing_is_invented", "nobody asked"): run(TOLD, ledgers=(ledger(FIRST, SECOND),)),
    ("nothing_is_forgotten", "without an end"): run(asked(FIRST, 1, unknown(2, "TRANSPORT_LOST"))),
    ("nothing_is_forgotten", "killed and not repeated"): run(asked(FIRST, 1), ledgers=(ledger(FIRST),)),
    ("nothing_is_forgotten", "left out"): run(TOLD, asked(THIRD, 3, answered(4, 2)), ledgers=(ledger(FIRST, THIRD),)),
    ("kills_hit_something", "before it was asked for"): run(
        TOLD, ledgers=(ledger(FIRST),), deaths=(Death("server", 1, "after-claim", 0, FIRST.key),)
    ),
    ("kills_hit_something", "after its end"): run(
        TOLD,
        asked(FIRST, 3, answered(5, 1, replayed=True)),
        ledgers=(ledger(FIRST),),
        deaths=(Death("server", 1, "after-write", 4, FIRST.key),),
    ),
    ("kills_hit_something", "between two payments"): run(
        TOLD,
        asked(SECOND, 4, answered(5, 2)),
        ledgers=(ledger(FIRST, SECOND),),
        deaths=(Death("server", 1, "random", 3),),
    ),
    ("kills_hit_something", "a client that waited for nothing"): run(
        TOLD, ledgers=(ledger(FIRST),), deaths=(Death("loop", 1, "random", 3),)
    ),
}


@pytest.mark.parametrize(("rule", "how"), BROKEN)
def test_a_bad_run_breaks_its_rule_alone(rule: str, how: str) -> None:
    assert {each.rule for each in check(BROKEN[rule, how])} == {rule}


def test_what_was_always_refused_and_applied_breaks_a_rule() -> None:
    """It has no end either: clients go on asking."""
    bad = run(asked(FIRST, 1, refused(2)), ledgers=(ledger(FIRST),))
    assert [each.rule for each in check(bad)] == ["refused_is_not_applied", "nothing_is_forgotten"]


def test_every_rule_has_a_run_that_breaks_it() -> None:
    assert {rule for rule, _ in BROKEN} == RULES.keys()


HELD = Death("server", 1, "after-effect", 3, FIRST.key)
ANY = Death("server", 1, "random", 3)
MINE = Death("loop", 1, "random", 3)


@pytest.mark.parametrize(
    ("death", "invocations"),
    [
        (HELD, [asked(FIRST, 1, answered(4, 1))]),
        (HELD, [asked(FIRST, 1)]),
        (HELD, [asked(FIRST, 1, unknown(2, "TRANSPORT_LOST"))]),
        (ANY, [asked(FIRST, 1, answered(4, 1))]),
        (MINE, [asked(FIRST, 1)]),
    ],
)
def test_in_flight_from_the_request_to_the_written_end(death: Death, invocations: list[Invocation]) -> None:
    assert run(*invocations, deaths=(death,)).in_flight(death)


def test_what_another_client_asked_for_is_no_matter_of_the_one_that_dies() -> None:
    others = replace(MINE, who="redial"), replace(MINE, life=2)
    found = run(asked(FIRST, 1), deaths=others)
    assert [found.in_flight(each) for each in others] == [False, False]


def test_what_a_dead_client_asked_for_is_in_flight_only_where_the_server_is_at_it() -> None:
    earlier = replace(MINE, at=2)
    found = run(asked(FIRST, 1), deaths=(earlier, ANY, HELD))
    assert [found.in_flight(each) for each in (earlier, ANY, HELD)] == [True, False, True]
