"""The wire schema is linted, guarded against breaking changes, and the code generated from it is current."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from tools import proto


@pytest.fixture(scope="module")
def full() -> descriptor_pb2.FileDescriptorSet:
    return proto.image()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the schema to damage."""
    return Path(shutil.copytree(proto.PROTO, tmp_path / "proto"))


def change(directory: Path, file: str, old: str, new: str) -> None:
    path = directory / proto.PACKAGE / file
    text = path.read_text()
    assert text.count(old) >= 1, f"{old!r} is not in {file}"
    path.write_text(text.replace(old, new, 1))


def test_the_schema_is_clean_unbroken_and_the_generated_code_is_current(
    full: descriptor_pb2.FileDescriptorSet,
) -> None:
    proto.check(full, proto.PROTO / "baseline.binpb")


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("money.proto", "string currency = 1", "string Currency = 1", "lower_snake_case"),
        ("money.proto", "  // Whole units of the currency, at most 10^15 either way.\n", "", "comment"),
        ("identity.proto", "ROLE_DEVICE", "DEVICE", 'should be prefixed with "ROLE_"'),
        (
            "money.proto",
            "int64 units = 2 [(buf.validate.field).int64",
            "int64 units = 2 [(buf.validate.field).int32",
            "int32",
        ),
    ],
)
def test_lint_refuses(copy: Path, file: str, old: str, new: str, complaint: str) -> None:
    change(copy, file, old, new)
    with pytest.raises(proto.ProtoError, match=complaint):
        proto.lint(proto.image(copy))


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("money.proto", "string currency = 1", "bytes currency = 1", "changed type"),
        ("money.proto", "int64 units = 2", "int64 units = 4", "was deleted"),
        ("money.proto", "int64 units = 2", "int64 whole = 2", "changed name"),
        ("receipt.proto", "message Receipt", "message Proof", "was deleted"),
        ("payment.proto", "PAYMENT_STATUS_REFUNDED = 5", "PAYMENT_STATUS_REFUNDED = 6", "was deleted"),
    ],
)
def test_a_breaking_change_is_refused(copy: Path, file: str, old: str, new: str, complaint: str) -> None:
    change(copy, file, old, new)
    with pytest.raises(proto.ProtoError, match=complaint):
        proto.breaking(proto.image(copy), proto.PROTO / "baseline.binpb")


def test_a_new_message_is_not_a_breaking_change(copy: Path) -> None:
    with (copy / proto.PACKAGE / "money.proto").open("a") as file:
        file.write("\n// Two amounts.\nmessage Pair {\n  // One.\n  Money first = 1;\n}\n")
    image = proto.image(copy)
    proto.lint(image)
    proto.breaking(image, proto.PROTO / "baseline.binpb")


def test_a_schema_that_does_not_compile_is_an_error_with_its_place(copy: Path) -> None:
    change(copy, "money.proto", "int64 units", "int65 units")
    with pytest.raises(proto.ProtoError, match=r"money\.proto.*int65"):
        proto.image(copy)


def test_a_missing_baseline_is_an_error(full: descriptor_pb2.FileDescriptorSet, tmp_path: Path) -> None:
    with pytest.raises(proto.ProtoError, match="is missing"):
        proto.breaking(full, tmp_path / "baseline.binpb")


def test_a_baseline_of_a_schema_accepts_that_schema(full: descriptor_pb2.FileDescriptorSet, tmp_path: Path) -> None:
    proto.write_baseline(full, tmp_path / "baseline.binpb")
    proto.breaking(full, tmp_path / "baseline.binpb")


def test_stale_missing_and_left_over_files_are_found_and_mended(tmp_path: Path) -> None:
    files = {"a_pb2.py": "a", "b_pb2.py": "b"}
    proto.write(files, tmp_path)
    assert proto.stale(files, tmp_path) == []
    (tmp_path / "a_pb2.py").write_text("edited")
    (tmp_path / "b_pb2.py").unlink()
    (tmp_path / "c_pb2.pyi").write_text("left over")
    assert proto.stale(files, tmp_path) == ["a_pb2.py", "b_pb2.py", "c_pb2.pyi"]
    proto.write(files, tmp_path)
    assert proto.stale(files, tmp_path) == []


def test_generated_code_needs_protobuf_alone(full: descriptor_pb2.FileDescriptorSet) -> None:
    for file in proto.stripped(full).file:
        assert all(name.startswith("ratatoskr/v1/") for name in file.dependency)
        assert b"buf.validate" not in file.SerializeToString()
    for name, text in proto.generate(full).items():
        assert "validate" not in text, name


def test_nothing_signed_has_two_encodings(full: descriptor_pb2.FileDescriptorSet) -> None:
    """No map, float, double or Any anywhere, and no oneof outside the envelope and the controls."""
    field_type = descriptor_pb2.FieldDescriptorProto
    for file in proto.stripped(full).file:
        for message in file.message_type:
            assert not message.nested_type, f"{message.name} nests a message, as a map does"
            assert not message.oneof_decl or message.name in {"RatatoskrResponse", "Control"}
            for field in message.field:
                assert field.type not in {field_type.TYPE_FLOAT, field_type.TYPE_DOUBLE, field_type.TYPE_GROUP}
                assert not field.type_name.startswith(".google.")


@pytest.mark.parametrize(("command", "code"), [("lint", 0), ("breaking", 0), ("check", 0)])
def test_command_line(command: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert proto.main([command]) == code
    assert capsys.readouterr().err == ""


def test_command_line_complains_on_standard_error(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(copy, "money.proto", "string currency", "string Currency")
    assert proto.main(["lint", "--proto", str(copy)]) == 1
    assert "Currency" in capsys.readouterr().err


def test_help_says_how_a_release_renews_the_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        proto.main(["--help"])
    assert "baseline" in capsys.readouterr().out
