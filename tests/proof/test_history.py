"""What a client writes is what its next life, and the judge, read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof.bank import FileLedger
from tests.proof.evidence import LOST, How, Told
from tests.proof.fate import append, now, record_death
from tests.proof.history import History, read_run
from tests.proof.scene import CLIENTS, DATABASE, SERVER, Scene, nonce_of

CLIENT = CLIENTS[0]
LIVES = dict.fromkeys(CLIENTS, 0) | {SERVER: 1, CLIENT: 2}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path, 1, 0.0)
    FileLedger.create(tmp_path / DATABASE, scene.opening)
    return scene


def test_what_has_no_end_is_open_to_the_next_life(scene: Scene) -> None:
    account = scene.accounts(CLIENT)[0]
    first, second, third = (scene.payment(account, place) for place in range(3))
    history = History(scene.home, CLIENT, 1)
    history.invoke(first)
    history.end(first, Told(now(), How.UNKNOWN, "TRANSPORT_LOST"))
    assert history.open(account) == first.key, "asked for, and not known"
    history.invoke(first)
    history.end(first, Told(now(), How.ANSWERED, outcome=b"1", life="file", number=1))
    history.invoke(second)
    history.end(second, Told(now(), How.UNKNOWN, LOST))
    assert history.open(account) is None
    history.invoke(third)
    following = History(scene.home, CLIENT, 2)
    assert following.begun(account) == [first.key, second.key, third.key]
    assert following.ended(account) == [first.key, second.key]
    assert following.open(account) == third.key
    assert following.open(scene.accounts(CLIENT)[1]) is None


def test_a_payment_that_is_over_stays_over_while_it_is_asked_for_again(scene: Scene) -> None:
    account = scene.accounts(CLIENT)[0]
    payment = scene.payment(account, 0)
    history = History(scene.home, CLIENT, 1)
    history.invoke(payment)
    history.end(payment, Told(now(), How.FAILED, "NO_FUNDS", b"no", "file"))
    history.invoke(payment)
    assert History(scene.home, CLIENT, 2).open(account) is None


def test_a_run_is_what_was_written(scene: Scene) -> None:
    payment = scene.payment(scene.accounts(CLIENT)[0], 0)
    told = Told(now(), How.ANSWERED, "", b"\0bytes", "file", 3, replayed=True)
    History(scene.home, CLIENT, 1).invoke(payment)
    record_death(scene.home, CLIENT, 1, "before-send", key=payment.key)
    record_death(scene.home, SERVER, 1, "after-claim", nonce=nonce_of(payment.key))
    record_death(scene.home, SERVER, 2, "random")
    later = History(scene.home, CLIENT, 2)
    later.invoke(payment)
    later.end(payment, told)
    run = read_run(scene, "sqlite", "transactional", LIVES)
    assert [(each.payment, each.client, each.life, each.told) for each in run.invocations] == [
        (payment, CLIENT, 1, None),
        (payment, CLIENT, 2, told),
    ]
    assert [(each.who, each.life, each.point, each.key) for each in run.deaths] == [
        (CLIENT, 1, "before-send", payment.key),
        (SERVER, 1, "after-claim", payment.key),
        (SERVER, 2, "random", None),
    ]
    [ledger] = run.ledgers
    assert (ledger.rows, ledger.balances, ledger.atomic) == ((), scene.opening, True)


def test_a_ledger_in_memory_is_what_its_process_traced(scene: Scene) -> None:
    row = {"number": 1, "key": "k", "debtor": "loop.0", "creditor": "loop.1", "amount": 5}
    append(scene.home / "trace.2.jsonl", {"row": row, "held": {"loop.0": 55, "loop.1": 65}})
    empty, other = read_run(scene, "memory", "plain", {**LIVES, SERVER: 2}).ledgers
    assert (empty.life, empty.rows, empty.balances) == ("memory-1", (), scene.opening)
    assert (other.life, len(other.rows), other.balances) == (
        "memory-2",
        1,
        scene.opening | {"loop.0": 55, "loop.1": 65},
    )


def test_the_work_list_is_the_same_for_everybody(scene: Scene, tmp_path: Path) -> None:
    elsewhere = Scene(tmp_path / "elsewhere", scene.seed, 7.0)
    accounts = [account for client in CLIENTS for account in scene.accounts(client)]
    payments = [scene.payment(account, place) for account in accounts for place in range(20)]
    assert payments == [elsewhere.payment_of(each.key) for each in payments]
    assert payments != [Scene(tmp_path, 2, 0.0).payment_of(each.key) for each in payments]
    assert all(each.debtor != each.creditor and each.amount > 0 for each in payments)
    assert len({each.key for each in payments}) == len(payments)
