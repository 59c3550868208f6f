"""docker/run on machines with other engines, or none. The engines are scripts that write down what they are told."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ENGINE = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$*" in
    info) echo "Cannot connect"; exit "${INFO:-0}" ;;
    *"image inspect"*) case "$*" in *"${MISSING:-nothing}"*) exit 1 ;; esac; echo sha256:1 ;;
    pull*) exit 1 ;;
    *" build "* | build*) echo "step 3 went wrong"; exit "${BUILD:-0}" ;;
    *" ps") exit "${COMPOSE:-0}" ;;
    *" run --rm "*) echo "the service speaks"; eval "${SERVICE:-true}" ;;
    *" logs "*) echo "${LOGS:-the sandbox's log: Stopped after 0.0 s}" ;;
esac
"""


class Machine:
    """A checkout, a PATH with these programs and the usual ones, and a record of what engines were asked."""

    def __init__(self, directory: Path, *programs: str) -> None:
        self.checkout = directory / "checkout"
        self._bin = directory / "bin"
        self._record = directory / "calls"
        shutil.copytree(ROOT / "docker", self.checkout / "docker")
        (self.checkout / "tests").mkdir()
        (self.checkout / "pyproject.toml").touch()
        shutil.copy(ROOT / "tests" / "minutes.toml", self.checkout / "tests")
        self._bin.mkdir()
        for program in programs:
            (self._bin / program).write_text(ENGINE)
            (self._bin / program).chmod(0o755)
        for name in ("awk", "basename", "bash", "cat", "cksum", "cmp", "cp", "cut", "dirname", "grep", "head"):
            self._link(name)
        for name in ("mktemp", "rm", "sed", "seq", "sh", "sleep", "tail", "timeout", "touch", "tr", "true"):
            self._link(name)

    def _link(self, name: str) -> None:
        path = shutil.which(name)
        if path is not None:
            (self._bin / name).symlink_to(path)

    def environment(self, **variables: str) -> dict[str, str]:
        return {"PATH": str(self._bin), "HOME": str(self._bin), "CALLS": str(self._record), **variables}

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.checkout / "docker" / "run", *arguments],
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def calls(self, *words: str) -> list[str]:
        """What engines were told, where all the words occur."""
        lines = self._record.read_text().splitlines() if self._record.exists() else []
        return [line for line in lines if all(word in line for word in words)]


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_every_command(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = Machine(tmp_path).run(*arguments)
    assert result.returncode == 0
    for command in ("demo", "tests", "tamper", "lint", "shell"):
        assert f"\n  {command} " in result.stdout


def test_an_unknown_command_is_refused_with_the_usage(tmp_path: Path) -> None:
    result = Machine(tmp_path, "docker").run("dance")
    assert result.returncode == 2
    assert "no command 'dance'" in result.stderr
    assert "Usage:" in result.stderr


@pytest.mark.parametrize(
    ("programs", "variables", "called"),
    [
        (("docker", "docker-compose", "podman"), {}, "docker compose -p"),
        (("podman", "podman-compose"), {}, "podman compose -p"),
        (("docker", "podman"), {"RATATOSKR_ENGINE": "podman"}, "podman compose -p"),
    ],
)
def test_the_engine_that_answers_is_used(
    tmp_path: Path, programs: tuple[str, ...], variables: dict[str, str], called: str
) -> None:
    machine = Machine(tmp_path, *programs)
    result = machine.run("shell", **variables)
    assert (result.returncode, result.stdout) == (0, "the service speaks\n"), result.stderr
    assert machine.calls(called, "run --rm -T shell")


def test_the_older_compose_is_used_where_the_newer_is_absent(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "docker", "docker-compose")
    (tmp_path / "bin" / "docker").write_text(ENGINE.replace('" ps")', '"compose "*) exit 1 ;;\n    *" ps")', 1))
    assert machine.run("shell").returncode == 0
    assert machine.calls("docker-compose -p", "run --rm -T shell")


@pytest.mark.parametrize(
    ("programs", "variables", "reason"),
    [
        ((), {}, "neither docker nor podman is installed"),
        (("docker",), {"INFO": "1"}, "docker is installed and does not answer: Cannot connect"),
        (("docker",), {"COMPOSE": "1"}, "docker answers, but there is no Compose for it"),
        (("docker",), {"RATATOSKR_ENGINE": "none"}, "RATATOSKR_ENGINE is none"),
        (("docker",), {"MISSING": "python"}, ""),
        (("docker",), {"MISSING": "inspect"}, "mmdebstrap, which is not installed"),
    ],
)
def test_without_an_engine_the_reason_is_said(
    tmp_path: Path, programs: tuple[str, ...], variables: dict[str, str], reason: str
) -> None:
    machine = Machine(tmp_path, *programs)
    result = machine.run("shell", **variables)
    assert reason in result.stderr
    if reason:
        assert result.returncode == 2
        assert "going on without containers" in result.stderr
        assert "no Python 3.11 or later" in result.stderr
        assert not machine.calls("run --rm")


@pytest.mark.parametrize("command", ["demo", "shell", "tests"])
def test_the_exit_code_is_that_of_what_was_run(tmp_path: Path, command: str) -> None:
    machine = Machine(tmp_path, "docker")
    arguments = ("--", "tests/unit") if command == "tests" else ()
    assert machine.run(command, *arguments, SERVICE="exit 3").returncode == 3
    assert machine.calls("down --volumes")


def test_arguments_reach_what_is_run(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "docker")
    machine.run("demo", "--json")
    machine.run("tests", "--", "tests/unit", "-k", "seal")
    assert machine.calls("run --rm -T --no-deps device --json")
    assert machine.calls("run --rm -T tests python -m pytest tests/unit -k seal")


def test_a_failing_demo_shows_what_the_sandbox_said(tmp_path: Path) -> None:
    assert "the sandbox's log" in Machine(tmp_path, "docker").run("demo", SERVICE="false").stderr


def test_a_sandbox_that_does_not_drain_when_it_is_stopped_fails_the_demo(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "docker")
    assert "docker/run: the sandbox: Stopped after 0.0 s\n" in machine.run("demo").stderr
    assert machine.calls(" stop yggdrasil")
    killed = machine.run("demo", LOGS="Killed")
    assert killed.returncode == 1
    assert "the sandbox was stopped and did not drain\nKilled\n" in killed.stderr


def test_a_failing_build_shows_its_log_and_runs_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "docker")
    result = machine.run("demo", BUILD="1")
    assert result.returncode == 2
    assert "step 3 went wrong\ndocker/run: the image app could not be built\n" in result.stderr
    assert not machine.calls("run --rm")


def test_the_whole_test_run_reports_its_stages_and_fails_with_any_part(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "docker")
    result = machine.run("tests", SERVICE="false")
    assert result.returncode == 1
    assert [line.split()[1] for line in result.stdout.splitlines() if line.startswith("minutes ")] == ["images", "demo"]
    failed = [line for line in result.stderr.splitlines() if "FAILED" in line]
    assert failed == [
        f"docker/run: FAILED: {what}" for what in ("demo", "the tests on Python 3.11", "the tests on Python 3.13")
    ]


FLIPPED = "flipped one bit of what went up\nStopped after 0.0 s"


@pytest.mark.parametrize(
    ("tampered", "logs", "said", "code"),
    [
        ("echo 'demo failed: no such seal'; exit 1", FLIPPED, "noticed, exit code 1: demo failed: no such seal", 0),
        ("exit 0", FLIPPED, "NOT NOTICED", 1),
        ("exit 1", FLIPPED, "the demo ended with 1 and did not say why", 1),
        ("echo Traceback; echo demo failed; exit 1", FLIPPED, "the demo ended with 1 and did not say why", 1),
        ("echo 'demo failed: refused'; exit 1", "", "the proxy never came to change a bit", 1),
    ],
)
def test_the_tamper_check_wants_a_changed_bit_and_a_demo_that_says_so(
    tmp_path: Path, tampered: str, logs: str, said: str, code: int
) -> None:
    machine = Machine(tmp_path, "docker")
    result = machine.run("tamper", SERVICE=f'[ -z "$RATATOSKR_FLIP" ] || {{ {tampered}; }}', LOGS=logs)
    assert result.returncode == code
    places = [line.rpartition(" ")[2] for line in result.stderr.splitlines() if "one bit changed at" in line]
    assert result.stderr.count(said) == len(places) > 2
    assert len(machine.calls("down --volumes")) == len(places) + 1


def test_a_demo_that_fails_through_the_honest_proxy_fails_the_tamper_check(tmp_path: Path) -> None:
    result = Machine(tmp_path, "docker").run("tamper", SERVICE="echo 'demo failed: always'; exit 1", LOGS=FLIPPED)
    assert result.returncode == 1


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, set()),
        ({"PIP_INDEX_URL": "https://index.invalid/simple"}, {"PIP_INDEX_URL=https://index.invalid/simple"}),
        ({"PIP_EXTRA_INDEX_URL": "file:///somewhere"}, set()),
        ({"PIP_TRUSTED_HOST": "a", "PIP_DEFAULT_TIMEOUT": "60"}, {"PIP_TRUSTED_HOST=a", "PIP_DEFAULT_TIMEOUT=60"}),
    ],
)
def test_pip_is_told_in_the_build_what_it_is_told_outside(
    tmp_path: Path, variables: dict[str, str], expected: set[str]
) -> None:
    machine = Machine(tmp_path, "docker")
    (tmp_path / "bin" / "cat").unlink()  # so that this machine's own pip.conf is not read
    machine.run("demo", **variables)
    (build,) = machine.calls("docker build")
    assert {word for word in build.split() if word.startswith("PIP_")} == expected


@pytest.mark.parametrize("variable", ["PIP_CERT", "SSL_CERT_FILE"])
def test_certificate_authorities_go_into_the_context_only_where_pip_names_them(tmp_path: Path, variable: str) -> None:
    machine = Machine(tmp_path, "docker")
    (tmp_path / "bin" / "cat").unlink()
    in_context = machine.checkout / "docker" / "local" / "ca.crt"
    in_context.unlink(missing_ok=True)
    machine.run("demo")
    assert not in_context.exists()
    (tmp_path / "authorities").write_text("a bundle")
    machine.run("demo", **{variable: str(tmp_path / "authorities")})
    assert in_context.read_text() == "a bundle"


def test_each_checkout_and_each_run_has_its_own_project(tmp_path: Path) -> None:
    machines = [Machine(tmp_path / name, "docker") for name in ("one", "two")]
    for machine in (*machines, machines[0]):
        machine.run("shell")
    projects = [call.split()[3] for machine in machines for call in machine.calls("run --rm")]
    images = [call.split("--tag ")[1].split()[0] for machine in machines for call in machine.calls("docker build")]
    assert len(set(projects)) == 3
    assert images[0] == images[1] != images[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_and_takes_the_containers_down(tmp_path: Path, number: signal.Signals) -> None:
    machine = Machine(tmp_path, "docker")
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    engine = (tmp_path / "bin" / "docker").read_text().replace("${SERVICE:-true}", f"echo >{ready}; sleep 60")
    (tmp_path / "bin" / "docker").write_text(engine)
    with subprocess.Popen(
        [machine.checkout / "docker" / "run", "shell"],
        env=machine.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        ready.read_text()
        os.killpg(process.pid, number)
        assert process.wait(timeout=30) == 128 + number
    assert machine.calls("down --volumes")
