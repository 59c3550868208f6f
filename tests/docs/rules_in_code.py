"""Every rule that the core breaks with, found in its source, with the faults that it causes."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ratatoskr.connection.closing import TIMEOUTS
from ratatoskr.messages.rules import Rule
from tests.docs.pages import ROOT

CORE = ROOT / "src/ratatoskr"
RECEIPT = "a receipt"
"""Stands for the fault of a rule of receipts, which end nothing."""
_OF_A_CLASS = {
    "refused": "REFUSED",
    "CertificateRefused": "REFUSED",
    "KeyRefused": "REFUSED",
    "ReceiptRefused": RECEIPT,
    "_exceeded": "LIMIT_EXCEEDED",
}
_PLACEHOLDERS = {"{what}": ("certificate", "request"), "{rule}": ("small_order", "key")}


def sources() -> Iterator[tuple[Path, ast.Module]]:
    """The files of the core, but what is generated, and those floors that have no rules of the wire."""
    for path in sorted(CORE.rglob("*.py")):
        if path.relative_to(CORE).parts[0] not in {"v1", "service", "lines", "testing"}:
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def rules() -> dict[str, set[str]]:
    """Rule → faults."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for rule in Rule:
        if rule.fault is not None:
            found[rule.id].add(rule.fault.name)
    for _, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for rule_id, fault in _of_a_call(node):
                    found[rule_id].add(fault)
    return dict(found)


def _of_a_call(node: ast.Call) -> Iterator[tuple[str, str]]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    arguments = [ast.unparse(argument) for argument in node.args]
    if name in _OF_A_CLASS:
        for rule in _texts(node.args[0]):
            yield rule, _OF_A_CLASS[name]
    elif name == "ProtocolFault" and arguments[0].startswith("TIMEOUTS["):
        for timer, fault in TIMEOUTS.items():
            yield f"timer.{timer.name.lower()}", fault.name
    elif name == "ProtocolFault" and arguments[0].startswith("Fault."):
        for rule in _texts(node.args[1]):
            yield rule, arguments[0].removeprefix("Fault.")
    elif name == "Closed" and arguments[0] == "row" and arguments[1].startswith("'"):
        yield ast.literal_eval(arguments[1]), "CLEAN"
        yield ast.literal_eval(arguments[1]), "TRANSPORT_LOST"


def _texts(node: ast.expr) -> list[str]:
    """What an expression may be, where it is made of texts."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp(body=body, orelse=other):
            return [*_texts(body), *_texts(other)]
        case ast.JoinedStr():
            texts = [ast.unparse(node)[2:-1]]
            for placeholder, values in _PLACEHOLDERS.items():
                texts = [text.replace(placeholder, value) for text in texts for value in values]
            return list(dict.fromkeys(texts))
        case _:
            return []


def labels() -> set[str]:
    """Every label that something is signed or derived under."""
    found = set()
    for path in CORE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes) and b"ratatoskr-v1" in node.value:
                found.add(node.value.rstrip(b"\0").decode())
    return found


def words() -> set[str]:
    """Every word in capitals that the code has as a name or as a text."""
    found = set()
    for path in (*CORE.rglob("*.py"), *(ROOT / "adapters/ratatoskr_websockets").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Constant(value=str(text)) if text.replace("_", "").isalpha() and text.isupper():
                    found.add(text)
                case ast.Name(id=name) | ast.Attribute(attr=name) if name.isupper():
                    found.add(name)
    return found
