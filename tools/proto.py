"""The wire schema: lint it, refuse breaking changes, generate the core's Python code.

    python tools/proto.py generate    write src/ratatoskr/v1 from proto/
    python tools/proto.py lint        buf lint
    python tools/proto.py breaking    buf breaking against proto/baseline.binpb
    python tools/proto.py check       lint, breaking, and that src/ratatoskr/v1 is current
    python tools/proto.py baseline    make today's schema the baseline

The baseline is the schema of the last release. A maintainer who makes a release runs `baseline` after `check` has
passed, and commits proto/baseline.binpb together with the version. Nothing else changes that file: a change that
`breaking` refuses needs a new protocol version, not a new baseline.

The .proto files carry their rules as `buf.validate` options. The Python code is generated without these options and
without their import, so that the core depends on protobuf alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[1]
PROTO = ROOT / "proto"
PACKAGE = Path("ratatoskr/v1")
GENERATED = ROOT / "src" / PACKAGE
VALIDATE = "buf/validate/validate.proto"


class ProtoError(Exception):
    """The schema, or the code generated from it, is not as it should be; the message is the tool's output."""


def _run(*command: str | Path) -> None:
    """Run a tool from this interpreter's environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    name = shutil.which(str(command[0]), path=path)
    if name is None:
        raise ProtoError(f"{command[0]} is not installed: pip install -e '.[dev]'")
    result = subprocess.run(
        [name, *map(str, command[1:])], capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
    )
    if result.returncode:
        raise ProtoError((result.stdout + result.stderr).strip() or f"{command[0]} failed")


def _protoc(*arguments: str | Path) -> None:
    """protoc, with the well-known types that come with it."""
    spec = importlib.util.find_spec("grpc_tools")
    if spec is None or spec.origin is None:
        raise ProtoError("grpcio-tools is not installed: pip install -e '.[dev]'")
    _run(sys.executable, "-m", "grpc_tools.protoc", *arguments)


def _validate_descriptors() -> bytes:
    """validate.proto and what it imports, as a serialized FileDescriptorSet, out of the protovalidate package."""
    from protovalidate._gen.buf.validate import validate_pb  # noqa: PLC0415 - only this function needs it

    collected = descriptor_pb2.FileDescriptorSet()

    def add(file: object) -> None:
        for dependency in file.dependencies:  # type: ignore[attr-defined]
            add(dependency)
        if file.name not in {known.name for known in collected.file}:  # type: ignore[attr-defined]
            collected.file.append(descriptor_pb2.FileDescriptorProto.FromString(file.proto.to_binary()))  # type: ignore[attr-defined]

    add(validate_pb.desc())
    return collected.SerializeToString(deterministic=True)


def image(proto: Path = PROTO) -> descriptor_pb2.FileDescriptorSet:
    """Everything under `proto`, compiled, with comments, rules and imports.

    Raises ProtoError with the compiler's words where it does not compile.
    """
    sources = [path.relative_to(proto).as_posix() for path in sorted(proto.rglob("*.proto"))]
    with tempfile.TemporaryDirectory() as directory:
        rules, output = Path(directory, "validate.binpb"), Path(directory, "image.binpb")
        rules.write_bytes(_validate_descriptors())
        _protoc(
            f"--proto_path={proto}",
            f"--descriptor_set_in={rules}",
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={output}",
            *sources,
        )
        return descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())


def stripped(full: descriptor_pb2.FileDescriptorSet) -> descriptor_pb2.FileDescriptorSet:
    """Our own files of an image without the rules and their import."""
    result = descriptor_pb2.FileDescriptorSet()
    for source in full.file:
        if not source.name.startswith(f"{PACKAGE.as_posix()}/"):
            continue
        file = result.file.add()
        file.CopyFrom(source)
        file.DiscardUnknownFields()  # the rules are extensions that nobody registered here
        dependencies = [name for name in file.dependency if name != VALIDATE]
        del file.dependency[:]
        file.dependency.extend(dependencies)
    return result


def lint(full: descriptor_pb2.FileDescriptorSet) -> None:
    """Raise ProtoError with buf's complaints about style, names, comments and rules."""
    with tempfile.TemporaryDirectory() as directory:
        current = Path(directory, "image.binpb")
        current.write_bytes(full.SerializeToString())
        _run("buf", "lint", current, "--config", PROTO / "buf.yaml")


def breaking(full: descriptor_pb2.FileDescriptorSet, baseline: Path) -> None:
    """Raise ProtoError with buf's list of what breaks peers or programs of the baseline."""
    if not baseline.exists():
        raise ProtoError(f"{baseline} is missing")
    with tempfile.TemporaryDirectory() as directory:
        current = Path(directory, "image.binpb")
        current.write_bytes(full.SerializeToString())
        _run("buf", "breaking", current, "--against", baseline, "--config", PROTO / "buf.yaml")


def write_baseline(full: descriptor_pb2.FileDescriptorSet, baseline: Path) -> None:
    """Keep the schema, without rules and comments, as what later ones are compared to."""
    kept = stripped(full)
    for file in kept.file:
        file.ClearField("source_code_info")
    baseline.write_bytes(kept.SerializeToString(deterministic=True))


def generate(full: descriptor_pb2.FileDescriptorSet) -> dict[str, str]:
    """The modules and stubs of src/ratatoskr/v1, by file name."""
    own = stripped(full)
    names = [file.name for file in own.file]
    with tempfile.TemporaryDirectory() as directory:
        current = Path(directory, "stripped.binpb")
        current.write_bytes(own.SerializeToString())
        _protoc(f"--descriptor_set_in={current}", f"--python_out={directory}", f"--mypy_out={directory}", *names)
        files = {path.name: path.read_text(encoding="utf-8") for path in sorted(Path(directory, PACKAGE).iterdir())}
    files["__init__.py"] = _package(own)
    return files


def _package(own: descriptor_pb2.FileDescriptorSet) -> str:
    """The package's __init__: every message, enum and value under one roof."""
    names: list[str] = []
    lines = ['"""The messages of the wire, generated from proto/ratatoskr/v1. Do not edit."""', ""]
    for file in own.file:
        exported = sorted(
            [
                *(message.name for message in file.message_type),
                *(enum.name for enum in file.enum_type),
                *(value.name for enum in file.enum_type for value in enum.value),
            ]
        )
        module = Path(file.name).stem
        lines += [f"from ratatoskr.v1.{module}_pb2 import (", *(f"    {name}," for name in exported), ")"]
        names += exported
    lines += ["", "__all__ = [", *(f'    "{name}",' for name in sorted(names)), "]", ""]
    return "\n".join(lines)


def stale(files: dict[str, str], directory: Path = GENERATED) -> list[str]:
    """Names of files that differ from what would be generated, are missing, or should not be there."""
    present = {path.name for path in directory.glob("*.py*") if path.suffix in {".py", ".pyi"}}
    return sorted(
        (present - files.keys())
        | {
            name
            for name, text in files.items()
            if name not in present or (directory / name).read_text(encoding="utf-8") != text
        }
    )


def write(files: dict[str, str], directory: Path = GENERATED) -> None:
    """Make a directory hold exactly these modules and stubs."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in stale(files, directory):
        if name in files:
            (directory / name).write_text(files[name], encoding="utf-8")
        else:
            (directory / name).unlink()


def check(full: descriptor_pb2.FileDescriptorSet, baseline: Path) -> None:
    """Everything that must hold before a commit."""
    lint(full)
    breaking(full, baseline)
    if names := stale(generate(full)):
        raise ProtoError(f"stale: {', '.join(names)}; run: python tools/proto.py generate")


def main(arguments: list[str] | None = None) -> int:
    """Run one command. 0 where it found nothing to complain about, else 1 with the complaints on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["generate", "lint", "breaking", "check", "baseline"])
    parser.add_argument(
        "--proto", type=Path, default=PROTO, metavar="DIR", help="root of the .proto files (%(default)s)"
    )
    options = parser.parse_args(arguments)
    baseline = PROTO / "baseline.binpb"
    try:
        full = image(options.proto)
        match options.command:
            case "generate":
                write(generate(full))
            case "lint":
                lint(full)
            case "breaking":
                breaking(full, baseline)
            case "check":
                check(full, baseline)
            case "baseline":
                write_baseline(full, baseline)
    except ProtoError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
