"""Runs the checks that read the code without running it: the commands of tox.ini's environments below, all of them.

tox itself would make an environment for each; in the container, and in docker/run's own environment, everything is
installed already.
"""

import configparser
import shlex
import subprocess
import sys
from pathlib import Path

ENVIRONMENTS = ("lint", "types", "proto")


def commands(tox_ini: str) -> list[list[str]]:
    """The command lines of the environments, in order."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(tox_ini)
    lines = (line for name in ENVIRONMENTS for line in parser[f"testenv:{name}"]["commands"].splitlines())
    return [shlex.split(line) for line in lines if line.strip()]


def main(root: Path) -> int:
    """Run every command, then name those that failed."""
    failed = []
    for command in commands((root / "tox.ini").read_text(encoding="utf-8")):
        sys.stdout.write(f"--- {shlex.join(command)}\n")
        sys.stdout.flush()
        if subprocess.run(command, cwd=root, check=False).returncode:  # noqa: S603 - the project's own commands
            failed.append(shlex.join(command))
    sys.stdout.write("".join(f"FAILED: {each}\n" for each in failed) or "all checks passed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
