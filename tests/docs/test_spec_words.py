"""Labels, rules, numbers, limits and words of the specification are those of the code, and none is missing."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from ratatoskr import Failure, Limits
from ratatoskr.messages.rules import Rule
from ratatoskr.service import once
from ratatoskr.session import failures, resumable
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
            assert name in known | {"timer.", "request."} or name.endswith(".json"), f"{page.name}: {name}"


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


# Tests


def test_every_test_that_the_pages_name_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", ALL)
    assert len(named) > 30
    for file, function in named:
        assert re.search(rf"^(?:async )?def {function}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), (
            f"{file}::{function}"
        )
