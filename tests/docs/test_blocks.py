"""Every Python block and every command of the pages, run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, Command, blocks, commands
from tests.docs.shell import Reader, check_possible, matches

STORIES = [page for page in PAGES if any(block.language in {"console", "python"} for block in blocks(page))]


@pytest.mark.parametrize("page", STORIES, ids=lambda page: page.name)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    """From top to bottom. A Python block that no command names runs by itself, unless it is a file of examples/."""
    found = list(blocks(page))
    typed = " ".join(block.text for block in found if block.language == "console")
    tests = []
    with Reader(tmp_path) as reader:
        for at, block in enumerate(found):
            if block.language == "console":
                for command in commands(block):
                    reader.run(command)
            elif block.language == "python":
                name, text = block.file or (f"block{at}.py", block.text)
                reader.save(name, text)
                if name.startswith("test_"):
                    tests.append(name)
                elif name not in typed and not block.is_example:
                    reader.run(Command(f"python {name}", "", stays=False))
        if tests:
            reader.run(Command(f"python -m pytest -q -p no:cacheprovider {' '.join(tests)}", "", stays=False))


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """The README shows two containers. Without them the place, the books at hand and the time are others."""
    (shown,) = (block.text for block in blocks(ROOT / "README.md") if block.text.startswith("Yggdrasil sandbox"))
    for differs in (
        r"(?<=^Yggdrasil sandbox on ).*",
        r"(?<=^  )already running",
        r"(?<=streamed in ).*(?=40 receipts)",
        r"(?<=zero {12}).*",
        r"[\d.]+(?= s\.$)",
    ):
        shown, count = re.subn(differs, "…", shown, flags=re.MULTILINE)
        assert count == 1, differs
    with Reader(tmp_path) as reader:
        reader.run(Command("ratatoskr demo", shown, stays=False))


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("", "anything\n", True),
        ("paid 3 EUR\n", "paid 3 EUR\n", True),
        ("paid 3 EUR\n", "paid 4 EUR\n", False),
        ("paid … EUR\n", "paid 17 EUR\n", True),
        ("paid … EUR\n", "paid 17 EUR\nand more\n", False),
        ("first\n…\nlast\n", "first\nsecond\nthird\nlast\n", True),
        ("first\n…\nlast\n", "first\nlast\n", True),
        ("first\n…\nlast\n", "second\nlast\n", False),
    ],
)
def test_what_is_printed_is_compared(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same


@pytest.mark.parametrize(
    "line",
    [
        "docker/run dance",
        "docker/run tests -- tests/nothing",
        "docker compose -f docker/compose.yaml up nothing",
        "pip install -e '.[nothing]'",
        "pip download something",
        "git clone something",
    ],
)
def test_an_impossible_command_is_found(line: str) -> None:
    with pytest.raises(AssertionError):
        check_possible(line)


def test_a_command_that_fails_is_found(tmp_path: Path) -> None:
    with Reader(tmp_path) as reader, pytest.raises(AssertionError, match="exit 3"):
        reader.run(Command("exit 3", "", stays=False))


def test_a_server_that_does_not_start_is_found(tmp_path: Path) -> None:
    with Reader(tmp_path) as reader, pytest.raises(AssertionError, match="no-such-command"):
        reader.run(Command("no-such-command --port 8765", "", stays=True))
