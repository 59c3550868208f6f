"""What the pages say about the project and about each other is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, prose
from tools import docs

_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LANGUAGES = {"console", "mermaid", "protobuf", "python", "text"}


def anchors(page: Path) -> set[str]:
    """What a link can name on a page."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in _HEADING.findall(prose(page))
    }


def broken(page: Path, text: str) -> list[str]:
    """The links that lead nowhere. Links to other sites are not followed."""
    found = []
    for target in _LINK.findall(text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page, prose(page)) == []


def test_a_broken_link_is_found() -> None:
    text = "[a](faults.md#classes) [b](nothing.md) [c](faults.md#nothing) [d](../../README.md) [e](#classes)"
    assert broken(ROOT / "docs/spec/faults.md", text) == ["nothing.md", "faults.md#nothing"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, new = set[Path](), {ROOT / "README.md"}
    while new:
        page = new.pop()
        reached.add(page)
        targets = {(page.parent / target.partition("#")[0]).resolve() for target in _LINK.findall(prose(page))}
        new |= {target for target in targets if target.suffix == ".md"} - reached
    assert set(docs.pages()) <= reached


def test_generated_parts_are_current() -> None:
    assert docs.stale() == []


def test_a_stale_part_is_found() -> None:
    text = "<!-- begin dispositions -->\n\nwas\n\n<!-- end dispositions -->\n"
    assert docs.current(text) != text
    assert docs.current(docs.current(text)) == docs.current(text)


def test_every_marker_has_its_end_and_a_known_name() -> None:
    for page in docs.pages():
        text = page.read_text(encoding="utf-8")
        names = re.findall(r"<!-- begin (.+) -->", text)
        assert names == re.findall(r"<!-- end (.+) -->", text)
        for name in names:
            docs.section(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_are_in_a_language_that_is_tested(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("\n```") == 2 * len(list(blocks(page)))
    assert {block.language for block in blocks(page)} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_fit_on_a_screen(page: Path) -> None:
    """Rows of tables, what is generated and what programs print may be longer."""
    text = re.sub(r"<!-- begin (.+?) -->.*?<!-- end \1 -->", "", prose(page), flags=re.DOTALL)
    long = [line for line in text.splitlines() if len(line) > 125 and not line.startswith("|")]
    assert long == []


def test_the_readme_has_short_programs() -> None:
    programs = {b.file[0]: b.file[1] for b in blocks(ROOT / "README.md") if b.language == "python" and b.file}
    lines = {name: sum(bool(line.strip()) for line in text.splitlines()) for name, text in programs.items()}
    assert lines.keys() == {"server.py", "client.py", "pair.py"}
    assert max(lines["server.py"], lines["client.py"]) <= 20
    assert lines["pair.py"] <= 15
