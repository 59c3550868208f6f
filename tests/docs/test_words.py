"""Words that do not belong into the project: of one machine, of one network, of the making of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

# A letter of each is in brackets, so that this file does not hold them.
FORBIDDEN = {
    "a path of one machine": r"/(?:wor[k]|roo[t]|home/\w+|Users/\w+)(?=[/\s\"'`:)\]]|$)",
    "the host of a registry": r"(?i)\b(?:pypi\.or[g]|pythonhoste[d]\.org|registry\.npmj[s]|quay\.i[o]|ghcr\.i[o])",
    "the host of a mirror": r"(?i)\bdeb\.debia[n]\.org|https?://[\w.-]*(?:mirror|proxy|artifact)[\w.-]*",
    "an unfinished thought": r"\b(?:TOD[O]|FIXM[E])\b",
    "a number of an issue": r"(?i)\bissue \d|\bissues sho[w]",
    "a tool of its making": r"(?i)\b(?:anthropi[c]|claud[e]|opena[i]|chatgp[t]|copilo[t]|LL[M])\b",
    "a conflict": r"^(?:<<<<<<[<]|>>>>>>[>])",
}
VECTORS = {"tests/unit/channel/test_public_vectors.py", "docker/run"}
OUTSIDE = re.compile(r"\.\./share[d]")
"""Only the test of public vectors, which skips without them, and who hands them to it look beside the project."""

SKIPPED = {".git", ".tox", "build", "dist", "htmlcov", "node_modules", "__pycache__", "local"}


def files() -> list[Path]:
    """What belongs to the project: what git tracks, or every file where there is no git."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
        if listed.returncode == 0:
            return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    found = []
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        hidden = any(part in SKIPPED or part.endswith("egg-info") or part.startswith(".") for part in parts)
        if path.is_file() and not hidden and path.suffix != ".key":
            found.append(path)
    return found


def words(text: str) -> list[str]:
    """What a text should not say."""
    return [
        f"{what}: {found[0]!r}"
        for what, pattern in FORBIDDEN.items()
        for found in re.finditer(pattern, text, re.MULTILINE)
    ]


def test_no_file_says_what_it_should_not() -> None:
    found = []
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {word}" for word in words(text)]
        if name not in VECTORS and OUTSIDE.search(text):
            found.append(f"{name}: a place outside of the project")
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "see /wo" + "rk/notes",
        "'/ro" + "ot'",
        "pip install -i https://py" + "pi.org/simple",
        "http://my-mir" + "ror.example/debian",
        "# TO" + "DO: later",
        "as iss" + "ue 2 asks",
        "<<<<<" + "<< HEAD",
    ],
)
def test_a_forbidden_word_is_found(text: str) -> None:
    assert words(text)


@pytest.mark.parametrize("text", ["the network's root, a workshop", "framework/x", "issues certificates", "/workspace"])
def test_words_of_the_field_are_allowed(text: str) -> None:
    assert words(text) == []
