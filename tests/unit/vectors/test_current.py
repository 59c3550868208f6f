"""The vectors are what the implementation makes, and they have a case for every rule that bytes can break."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs import rules_in_code
from tests.docs.pages import SPEC
from tests.unit.vectors.files import FOLDER, load
from tests.vectors.__main__ import FILES, main, stale

HERE = Path(__file__).parent
NOT_OF_BYTES = {
    "accept and reject are decided by applications": {"admission.rejected"},
    "of an end itself": {"admission.length", "close", "disconnect", "transport.eof", "session.replaced", "alert"},
    "time": {rule for rule in rules_in_code.rules() if rule.startswith("timer.")} | {"liveness", "span.time"},
    "more records than a test can make": {"record.key-exhausted"},
    "the library finds no ciphertext of the right length invalid": {"noise.kem-ciphertext"},
    "two messages together": {"admission.downgrade", "resume.unasked"},
    "text for files": {"armour", "identity"},
    "found as receipt.field before": {"receipt.suite"},
    "a message inside a receipt that verifies": {"receipt.envelope"},
    "as for certificates": {
        "request.version", "request.role", "request.subject", "request.tenant", "request.names", "request.key",
        "request.small_order",
    },
}  # fmt: skip


def test_the_files_are_current() -> None:
    assert list(stale()) == []


def test_a_stale_file_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tests.vectors.__main__.FOLDER", tmp_path)
    monkeypatch.setattr("tests.vectors.__main__.FILES", {"nonces.json": FILES["nonces.json"]})
    assert main(["check"]) == 1
    assert "stale: nonces.json" in capsys.readouterr().err
    assert main(["write"]) == 0
    assert json.loads((tmp_path / "nonces.json").read_text(encoding="utf-8")) == load("nonces.json")
    assert main(["check"]) == 0
    assert main(["dance"]) == 2


def entries(value: Any) -> Iterator[dict[str, Any]]:
    """All objects of a file."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from entries(each)


def test_every_rule_that_bytes_can_break_has_a_case() -> None:
    broken = {entry["rule"] for name in FILES for entry in entries(load(name)) if "rule" in entry} - {""}
    assert broken <= rules_in_code.rules().keys()
    assert rules_in_code.rules().keys() - broken == set().union(*NOT_OF_BYTES.values())


def test_every_key_of_every_file_is_explained() -> None:
    text = (SPEC / "vectors.md").read_text(encoding="utf-8")
    for name in FILES:
        title = re.escape(re.sub("0001|0012", "*", name))
        section = re.search(rf"^## [^\n]*`{title}`.*?(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
        assert section, f"{name} has no section"
        keys = {key for entry in entries(load(name)) for key in entry if re.fullmatch(r"[a-z][a-z_0-9]{1,40}", key)}
        missing = {key for key in keys if f"`{key}`" not in section[0]} - _COMMON - _limits()
        assert not missing, (name, missing)


_COMMON = {"about", "what", "rule", "by"}


def _limits() -> set[str]:
    return set(load("admission.json")["limits"][0]["own"]) | set(load("identities.json")["identities"]) | {
        "control_burst", "errors_per_minute", "span_messages",
    }  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        *(FOLDER / "stranger").glob("*.py"),
        *Path(__file__).parent.glob("test_stranger_*.py"),
        Path(__file__).with_name("files.py"),
    ],
    ids=lambda path: path.name,
)
def test_a_stranger_imports_nothing_of_ours(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(node.module or "")
    strange = {
        name for name in imported if name.split(".")[0] in {"ratatoskr", "google", "tools"} or "ratatoskr" in name
    }
    ours = {name for name in imported if name.startswith("tests.")}
    assert not strange
    assert all(name.startswith("tests.vectors.stranger") or name == "tests.unit.vectors.files" for name in ours)
