"""tests/minutes.toml and the tree agree, and a layer over its minutes fails."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from docker.minutes import LIMIT, problems

ROOT = Path(__file__).parents[2]
RUN = """
import pathlib, sys, docker.minutes
sys.exit(docker.minutes.main(pathlib.Path(sys.argv[1]), everything=True))
"""


def stated() -> dict[str, dict[str, float]]:
    return tomllib.loads((ROOT / "tests" / "minutes.toml").read_text(encoding="utf-8"))


def test_the_file_and_the_tree_agree() -> None:
    assert problems(ROOT / "tests", stated()) == []


def test_the_oldest_python_runs_layers_that_the_newest_runs_too() -> None:
    assert set(stated()["3.11"]) <= set(stated()["3.13"])


@pytest.mark.parametrize(
    ("minutes", "problem"),
    [
        ({"stages": {"images": 60}, "3.13": {"unit": 10}}, None),
        ({"stages": {"images": 60}, "3.13": {"unit": 10.5}}, f"the sum is 70.5 minutes, more than {LIMIT}"),
        ({"3.13": {}}, "unit has no minutes"),
        ({"3.13": {"unit": 1, "attacks": 1}}, "attacks has minutes and no tests"),
        ({"stages": {"unit": 1}, "3.13": {}}, "unit has no minutes"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, minutes: dict[str, dict[str, float]], problem: str | None) -> None:
    (tmp_path / "unit" / "channel").mkdir(parents=True)
    (tmp_path / "unit" / "channel" / "test_something.py").touch()
    assert problems(tmp_path, minutes) == ([problem] if problem else [])


def run(root: Path, minutes: str, *, fails: bool = False) -> subprocess.CompletedProcess[str]:
    for layer in ("unit", "scenarios"):
        (root / "tests" / layer).mkdir(parents=True)
        (root / "tests" / layer / f"test_{layer}.py").write_text(f"def test_it():\n    assert {not fails}\n")
    (root / "tests" / "minutes.toml").write_text(minutes)
    return subprocess.run(
        [sys.executable, "-c", RUN, root], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


def test_minutes_stand_before_the_closing_line_of_pytest(tmp_path: Path) -> None:
    result = run(tmp_path, '[stages]\nimages = 1\n["3.13"]\nunit = 5\nscenarios = 2.5\n')
    *_, unit, scenarios, empty, closing = result.stdout.splitlines()
    assert result.returncode == 0, result.stderr
    assert (unit.split()[1], unit[-23:]) == ("unit", " stated  5.0  used  0.0")
    assert (scenarios.split()[1], scenarios[-23:]) == ("scenarios", " stated  2.5  used  0.0")
    assert (empty, "2 passed" in closing) == ("", True)


def test_a_layer_over_its_minutes_ends_the_session(tmp_path: Path) -> None:
    result = run(tmp_path, '["3.13"]\nunit = 0\nscenarios = 1\n')
    assert result.returncode == 1
    assert "unit is over the 0 minutes of tests/minutes.toml" in result.stdout
    assert "scenarios/" not in result.stdout


def test_failing_tests_fail_the_run(tmp_path: Path) -> None:
    assert run(tmp_path, '["3.13"]\nunit = 1\nscenarios = 1\n', fails=True).returncode == 1


def test_a_layer_that_nobody_stated_fails_the_run(tmp_path: Path) -> None:
    result = run(tmp_path, '["3.13"]\nunit = 1\n')
    assert (result.returncode, result.stderr) == (4, "tests/minutes.toml: scenarios has no minutes\n")
