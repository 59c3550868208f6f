"""The small programs that the images are built and entered with."""

import socket
from pathlib import Path

import pytest

from docker import lint
from docker.requirements import requirements
from docker.wait_for import wait_for

PROJECT = {
    "build-system": {"requires": ["backend"]},
    "project": {
        "name": "it-self",
        "dependencies": ["core>=1"],
        "optional-dependencies": {
            "one": ["first"],
            "two": ["it-self[one]", "second[with]"],
            "all": ["it-self[one, two]", "it-self[all]"],
        },
    },
}


@pytest.mark.parametrize(
    ("extra", "expected"),
    [("one", {"first"}), ("two", {"first", "second[with]"}), ("all", {"first", "second[with]"})],
)
def test_an_extra_may_name_other_extras(extra: str, expected: set[str]) -> None:
    assert requirements(PROJECT, extra) == {"backend", "core>=1"} | expected


def test_an_unknown_extra_is_an_error() -> None:
    with pytest.raises(KeyError, match="three"):
        requirements(PROJECT, "three")


def test_lint_runs_what_tox_runs() -> None:
    tox_ini = (Path(lint.__file__).parents[1] / "tox.ini").read_text(encoding="utf-8")
    programs = [command[0] for command in lint.commands(tox_ini)]
    assert {"ruff", "lint-imports", "mypy", "pyright"} <= set(programs)
    assert ["ruff", "format", "--check", "."] in lint.commands(tox_ini)


def test_lint_runs_every_check_and_names_those_that_fail(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    commands = {"lint": "false first\n    true", "types": "false 'the second'", "proto": "echo third"}
    sections = (f"[testenv:{name}]\ncommands =\n    {lines}\n" for name, lines in commands.items())
    (tmp_path / "tox.ini").write_text("".join(sections))
    assert lint.main(tmp_path) == 1
    out = capfd.readouterr().out
    assert out.endswith("third\nFAILED: false first\nFAILED: false 'the second'\n")


def test_lint_succeeds_where_every_check_does(tmp_path: Path) -> None:
    (tmp_path / "tox.ini").write_text("".join(f"[testenv:{name}]\ncommands = true\n" for name in lint.ENVIRONMENTS))
    assert lint.main(tmp_path) == 0


def test_a_port_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        assert wait_for("127.0.0.1", port, 5)
    assert not wait_for("127.0.0.1", port, 0.05)
