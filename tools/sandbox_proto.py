"""The sandbox's own schema, which imports the protocol's as any application's would.

python -m tools.sandbox_proto generate    write adapters/ratatoskr_sandbox/sandbox_pb2.py and its stub
python -m tools.sandbox_proto check       exit 1 unless they are current
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tools import proto

ADAPTERS = proto.ROOT / "adapters"
SOURCE = Path("ratatoskr_sandbox/sandbox.proto")


def generate() -> dict[str, str]:
    """The module and its stub, by file name."""
    with tempfile.TemporaryDirectory() as directory:
        core = Path(directory, "core.binpb")
        core.write_bytes(proto.stripped(proto.image()).SerializeToString())
        proto._protoc(  # noqa: SLF001 - one tool in two files
            f"--proto_path={ADAPTERS}",
            f"--descriptor_set_in={core}",
            f"--python_out={directory}",
            f"--mypy_out={directory}",
            SOURCE,
        )
        output = Path(directory, SOURCE.parent)
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(output.iterdir())}


def stale() -> list[str]:
    """Names of files that differ from what would be generated."""
    directory = ADAPTERS / SOURCE.parent
    return [
        name
        for name, text in generate().items()
        if not (directory / name).exists() or (directory / name).read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Run one command."""
    if arguments == ["generate"]:
        for name, text in generate().items():
            (ADAPTERS / SOURCE.parent / name).write_text(text, encoding="utf-8")
        return 0
    if arguments == ["check"]:
        if names := stale():
            print(f"stale: {', '.join(names)}; run: python -m tools.sandbox_proto generate", file=sys.stderr)
        return 1 if names else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
