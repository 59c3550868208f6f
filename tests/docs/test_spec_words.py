"""Labels, rules, numbers, limits and words of the specification are those of the code, and none is missing."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ratatoskr import Failure, FieldViolation, Kind, Limits, LocalProtocolError, Status, v1
from ratatoskr.admission import ConnectionResponse
from ratatoskr.identity.armour import MAX_ARMOUR_BYTES
from ratatoskr.messages.envelopes import failure_to_error
from ratatoskr.messages.rules import Rule
from ratatoskr.service import once
from ratatoskr.session import asking, charges, failures, metadata, outgoing, resumable, sending
from tests.docs import rules_in_code
from tests.docs.pages import ROOT, SPEC, prose
from tests.docs.spec_numbers import BOUND, FREE
from tools import schema

PAGES = sorted(SPEC.glob("*.md"))
GENERATED = re.compile(r"<!-- begin (.+?) -->.*?<!-- end \1 -->", re.DOTALL)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def by_hand(page: Path) -> str:
    """What somebody wrote: without blocks, without what is made from the code, without where links lead."""
    return re.sub(r"\]\([^)]*\)", "]", GENERATED.sub("", prose(page)))


def rows(page: Path) -> list[tuple[list[str], list[str]]]:
    """Heads and cells of all rows of all tables."""
    found = []
    for table in re.findall(r"(?:^\|.*\|\n)+", text(page), re.MULTILINE):
        head, _, *lines = (re.split(r"(?<!\\)\|", line.strip("|\n")) for line in table.splitlines())
        found += [([cell.strip() for cell in head], [cell.strip() for cell in line]) for line in lines]
    return found


ALL = "\n".join(map(text, PAGES))
OWN = Limits()
OVERDUE: Any = SimpleNamespace(deadline=9.0, granted=16, attempt=0)
"""A call whose time is over, in a flight that is built all the same."""
PADDING = {
    len(v1.ConnectionAnswer.FromString(ConnectionResponse(None, 0.0, failure).encode()).padding)
    for failure in (Failure(Status.INTERNAL, "R", "x" * length) for length in range(512))
}


def kinds_end_at(type_bits: int, operation_bits: int) -> bool:
    """Whether the greatest type and operation of so many bits are the last."""

    def exists(type: int, operation: int) -> bool:
        try:
            Kind(type, operation, "LAST", v1.Search, v1.Search)
        except LocalProtocolError:
            return False
        return True

    last = (2**type_bits - 1, 2**operation_bits - 1)
    return exists(*last) and not exists(last[0] + 1, last[1]) and not exists(last[0], last[1] + 1)


# Labels


def test_every_label_is_on_a_page_and_none_besides() -> None:
    said = set(re.findall(r'"(ratatoskr-v1[ a-z-]*)"', re.sub(r"```python.*?```", "", ALL, flags=re.DOTALL)))
    assert said == rules_in_code.labels()
    assert {'"session-id"', '"resume"', '"RTSK"'} <= set(re.findall(r'"[\w-]+"', ALL))


# Rules


def test_every_rule_stands_in_a_table_with_its_faults() -> None:
    """A certificate's rules hold for requests, as the page says in one sentence."""
    said: dict[str, set[str]] = {}
    for page in PAGES:
        for head, cells in rows(page):
            if head[0] != "rule":
                continue
            (rule,) = re.findall(r"^`([\w.-]+)`$", cells[0])
            if rule in {each.id for each in Rule if each.fault is None}:
                continue
            ends = cells[head.index("fault")] if "fault" in head else cells[-1] if rule[:8] != "receipt." else ""
            said.setdefault(rule, set()).update(re.findall(r"`([A-Z_]+)`", ends) or {rules_in_code.RECEIPT})
    known = rules_in_code.rules()
    asked = {
        rule for rule in known if rule.startswith("request.") and rule.replace("request.", "certificate.") in known
    }
    assert "with `request.` in the place of" in " ".join(text(SPEC / "certificates.md").split())
    for rule in asked - said.keys():
        assert known[rule] == known[rule.replace("request.", "certificate.")]
    assert said == {rule: ends for rule, ends in known.items() if rule not in asked - said.keys()}


def test_every_rule_of_the_call_is_told_in_the_text() -> None:
    for rule in Rule:
        assert f"`{rule.id}`" in by_hand(SPEC / "flights.md"), rule


def test_every_rule_that_a_page_names_exists() -> None:
    known = set(rules_in_code.rules()) | {rule.id for rule in Rule}
    prefixes = {rule.split(".")[0] for rule in known} - {"resume", "span"}
    for page in PAGES:
        for name in re.findall(rf"`((?:{'|'.join(sorted(prefixes))})\.[a-z_-]+)`", by_hand(page)):
            assert name in known | {"timer.", "request."} or name.endswith((".json", ".pv")), f"{page.name}: {name}"


# Failures that the protocol knows by name


def by_reason(page: str) -> dict[str, set[tuple[str, str]]]:
    """Reason → statuses and dispositions, from the tables of a page."""
    found: dict[str, set[tuple[str, str]]] = {}
    for head, cells in rows(SPEC / page):
        if "reason" in head:
            status, disposition = cells[head.index("status")], cells[head.index("disposition")]
            for reason in re.findall(r"`([A-Z_]+)`", cells[head.index("reason")]):
                found.setdefault(reason, set()).add((status, disposition.strip("`")))
    return found


def test_failures_of_a_session_are_those_of_the_table() -> None:
    said = by_reason("session.md")
    for failure in vars(failures).values():
        if isinstance(failure, Failure):
            assert said[failure.reason] == {(failure.status.name, failure.disposition.name)}
    assert {"TIMEOUT", "ANSWER_INVALID"} <= said.keys()


def test_failures_of_what_runs_at_most_once_are_those_of_the_table() -> None:
    said = by_reason("at-most-once.md")
    policy = once.OncePolicy()
    stale = [policy.stale(0.0, 1e9), policy.stale(1e9, 0.0)]
    known: dict[str, set[tuple[str, str]]] = {}
    for failure in (*vars(once).values(), *stale):
        if isinstance(failure, Failure):
            known.setdefault(failure.reason, set()).add((failure.status.name, failure.disposition.name))
    assert said == known


def test_rejections_of_a_resume_are_those_of_the_page() -> None:
    page = " ".join(text(SPEC / "resume.md").split())
    for failure in (resumable.STALE, resumable._diverged("")):
        assert f"{failure.status.name}, `{failure.reason}`, `{failure.disposition.name}`" in page


# Names


def test_every_name_in_code_type_exists() -> None:
    """Names of the vectors are compared with the files."""
    known = {field.name for field in fields(Limits)}
    for file in schema.PROTO.glob("*.proto"):
        for found in schema.definitions(file.read_text(encoding="utf-8")):
            known |= {row.name.strip("`") for row in found.rows}
    known |= {"session_id", "name_len", "server_name", "sig_suite", "request_leaf", "ekem1", "min_len", "max_len"}
    for page in set(PAGES) - {SPEC / "vectors.md"}:
        for name in re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)`", by_hand(page)):
            assert name in known | {"gte_lte"}, f"{page.name}: {name}"


def test_every_word_in_capitals_exists() -> None:
    known = rules_in_code.words()
    for page in PAGES:
        for word in re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", by_hand(page)):
            assert word in known | {"AESGCM", "FFFF"}, f"{page.name}: {word}"


# Numbers


def numbers(page: Path) -> set[str]:
    """The numbers that somebody wrote on a page, but those of steps and of layouts, which bytes are compared with."""
    said = re.sub(r"<!-- layout .*?-->\n\n(\|.*\n)+", "", by_hand(page))
    said = re.sub(r"^\s*\d+\. |`tests/[^`]*`|(?:RFC|FIPS|SP)\s+[\d.-]+", "", said, flags=re.MULTILINE)
    found = (number.rstrip(",") for number in re.findall(r"(?<![\w.^-])\d[\d,]*(?:\.\d+)?(?!\w)", said))
    return {number for number in found if number not in {"0", "1", "2", "00", "01", "02"}}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_number_is_bound_to_the_code_or_free_for_a_reason(page: Path) -> None:
    bound = BOUND.get(page.stem, {})
    for number, values in bound.items():
        assert {float(value) for value in values} == {float(number.replace(",", ""))}, number
    assert numbers(page) == bound.keys() | FREE.get(page.stem, {}).keys()


def flat(page: str) -> str:
    """A page on one line."""
    return " ".join(text(SPEC / page).split())


@pytest.mark.parametrize(
    ("page", "phrase", "holds"),
    [
        ("limits.md", "three other controls", charges.NEWS == 3),
        (
            "limits.md",
            "up to `outbox_messages` and twice `requests_open` together",
            charges.Charges(OWN)._most_free == OWN.outbox_messages + 2 * OWN.requests_open,
        ),
        ("session.md", "an eighth of the slots", outgoing._RESERVE == 8),
        ("session.md", "at most half of `cancels_per_minute`", asking._half(OWN)._burst == OWN.cancels_per_minute // 2),
        ("session.md", "at least 1.", (sending._hop(OVERDUE, 0, 10.0) or v1.Hop()).timeout_ms == 1),
        ("envelopes.md", "match `[a-z0-9_.-]{1,64}`", metadata._NAME.pattern == "[a-z0-9_.-]{1,64}"),
        ("admission.md", "zero bytes, at least 128,", min(PADDING) == 128),
        ("certificates.md", "longer than 1 MiB", MAX_ARMOUR_BYTES == 1 << 20),
        ("envelopes.md", "a type has at most 31 bits, an operation is from 1 to 2^32-1", kinds_end_at(31, 32)),
    ],
)
def test_a_number_in_words_is_that_of_the_code(page: str, phrase: str, holds: bool) -> None:
    assert phrase in flat(page)
    assert holds


def test_errors_are_cut_as_the_page_says() -> None:
    said = re.search(
        r"at most (\d+) bytes of `reason`, (\d+) of `message`, (\d+) violations with (\d+) bytes of `field`, "
        r"(\d+) of `rule` and (\d+) of `description`",
        flat("envelopes.md"),
    )
    assert said
    long = "x" * 10_000
    error = failure_to_error(Failure(Status.INTERNAL, long, long, violations=(FieldViolation(long, long, long),) * 99))
    first = error.violations[0]
    lengths = (error.reason, error.message, error.violations, first.field, first.rule, first.description)
    assert tuple(map(len, lengths)) == tuple(map(int, said.groups()))


def test_budgets_of_fields_are_those_of_the_page() -> None:
    source = (ROOT / "src/ratatoskr/messages/validator.py").read_text(encoding="utf-8")
    page = flat("flights.md")
    for formula in re.findall(r"\d+ \+ \d+ × `\w+`(?: \+ \d+ × `\w+`)*", page):
        assert formula.replace("×", "*").replace("`", "limits.", 1).replace("`", "") in source.replace(
            "limits.controls", "controls"
        ), formula
    assert len(re.findall("×", page)) == 3


# Tests


def test_every_test_that_the_pages_name_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", ALL)
    assert len(named) > 30
    for file, function in named:
        assert re.search(rf"^(?:async )?def {function}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), (
            f"{file}::{function}"
        )


def test_every_formal_model_is_named() -> None:
    named = re.findall(r"`(\w+\.pv)`", text(SPEC / "security.md"))
    assert sorted(named) == sorted(path.name for path in (SPEC / "formal").glob("*.pv"))
