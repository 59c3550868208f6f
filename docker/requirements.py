"""Prints what an extra of the project needs, one requirement a line, with what the project needs to be built."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any


def requirements(pyproject: dict[str, Any], extra: str) -> set[str]:
    """The requirements of the project, of its build, and of `extra`, where an extra may name other extras."""
    project = pyproject["project"]
    own = re.compile(re.escape(project["name"]) + r"\[([^\]]+)\]$")
    found = {*pyproject["build-system"]["requires"], *project["dependencies"]}
    wanted, seen = [extra], set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        for requirement in project["optional-dependencies"][name]:
            if match := own.match(requirement):
                wanted += [each.strip() for each in match[1].split(",")]
            else:
                found.add(requirement)
    return found


if __name__ == "__main__":
    with Path("pyproject.toml").open("rb") as file:
        sys.stdout.writelines(f"{line}\n" for line in sorted(requirements(tomllib.load(file), sys.argv[1])))
