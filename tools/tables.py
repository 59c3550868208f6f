"""What README.md and docs/ take from the code, as Markdown: states, timers, faults, rules, limits, kinds, suites."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable
from dataclasses import fields
from typing import get_args

from ratatoskr import admission, limits, v1
from ratatoskr.channel import SUITES, RecordType, Suite, handshake
from ratatoskr.channel import records as record_layer
from ratatoskr.connection import machine
from ratatoskr.connection.states import DEADLINES, RECORD_INPUTS, TRANSITIONS, Input, State
from ratatoskr.errors import Disposition, Fault, FaultClass, Status
from ratatoskr.events import Disconnect, Event, Transmit, Wait
from ratatoskr.identity import certificates, claims, trust
from ratatoskr.limits import NEGOTIATED, Limits
from ratatoskr.messages import envelopes, nonces, receipt, validator, wire
from ratatoskr.messages.kinds import AnyKind
from ratatoskr.messages.rules import Rule
from ratatoskr.messages.standard import STANDARD_KINDS
from ratatoskr.session import sending
from ratatoskr.timers import Timer
from tools.diagrams import mermaid

TIMER_LENGTHS = {
    Timer.HANDSHAKE: "handshake_timeout",
    Timer.ACCEPT: "accept_timeout",
    Timer.RECORD: "record_timeout",
    Timer.HEARTBEAT: "heartbeat_interval",
    Timer.LIVENESS: "liveness_timeout",
    Timer.WRITE: "write_timeout",
    Timer.ACK: "ack_delay",
    Timer.SEAL: "seal_delay",
    Timer.SPAN: "span_timeout",
    Timer.REQUEST: "request_timeout",
    Timer.CLOSE: "close_timeout",
    Timer.DRAIN: "drain_timeout",
}
"""Which limit is the length of which timer. CANCEL has none, and SESSION is ``Config.session_timeout``."""

TIMER_ENDS: dict[Timer, Fault | str] = {
    Timer.HANDSHAKE: Fault.HANDSHAKE_TIMEOUT,
    Timer.ACCEPT: Fault.ACCEPT_TIMEOUT,
    Timer.RECORD: Fault.RECORD_STALLED,
    Timer.HEARTBEAT: "a Ping goes out, unless the peer was heard meanwhile",
    Timer.LIVENESS: Fault.PEER_SILENT,
    Timer.WRITE: Fault.WRITE_STALLED,
    Timer.ACK: "a flight goes out for its `ack` alone",
    Timer.SEAL: "a sealed flight goes out",
    Timer.SPAN: Fault.SEAL_OVERDUE,
    Timer.REQUEST: "that call ends with DEADLINE_EXCEEDED",
    Timer.CANCEL: "the next of them go out",
    Timer.SESSION: Fault.SESSION_EXPIRED,
    Timer.CLOSE: "the transport is cut",
    Timer.DRAIN: Fault.DRAIN_TIMEOUT,
}
"""What a timer does when it is due."""


CONSTANTS: tuple[tuple[str, float, str], ...] = (
    ("longest server name", handshake.MAX_SERVER_NAME_BYTES, "bytes"),
    ("longest RESPONSE body that a client reads", machine.ANSWER_BYTES, "bytes"),
    ("longest body of any record", limits.MAX_RECORD_BYTES, "bytes"),
    ("least record length that a peer may announce", limits.MIN_RECORD_BYTES, "bytes"),
    ("least envelope length that a peer may announce", limits.MIN_ENVELOPE_BYTES, "bytes"),
    ("least length of M3 that a server may announce", limits.MIN_REQUEST_BYTES, "bytes"),
    ("longest time for a decision that a server may announce", limits.MAX_ACCEPT_TIMEOUT, "s"),
    ("longest token", admission.MAX_TOKEN_BYTES, "bytes"),
    ("longest certificate, and longest request for one", claims.MAX_CERTIFICATE_BYTES, "bytes"),
    ("longest subject and longest tenant", claims.MAX_SUBJECT_BYTES, "bytes"),
    ("server names in a certificate", claims.MAX_NAMES, ""),
    ("serial of a certificate", certificates.SERIAL_BYTES, "bytes"),
    ("certificates that a peer shows", trust.MAX_CHAIN, ""),
    ("issuers between a root and an end", certificates.MAX_PATH_LENGTH, ""),
    ("nonce", nonces.NONCE_BYTES, "bytes"),
    ("longest time of a call", limits.MAX_REQUEST_TIMEOUT, "s"),
    ("time of a call without a hop", sending.DEFAULT_TIMEOUT_MS, "ms"),
    ("charged for a metadata entry beside its name and value", validator.METADATA_ENTRY_BYTES, "bytes"),
    ("longest encoding that is not counted before it is parsed", wire.UNCHECKED_BYTES, "bytes"),
    ("fields of a payload, at all depths", validator.PAYLOAD_FIELDS, ""),
    ("messages within messages", wire.MAX_DEPTH, ""),
    ("field violations in an error", envelopes.MAX_VIOLATIONS, ""),
    ("longest retry delay in an error", envelopes.MAX_RETRY_DELAY, "s"),
    ("leaves that follow in a receipt", receipt.MAX_FOLLOWING, ""),
)
"""Meaning, value and unit of what no configuration changes."""


# Words and tables


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table of Markdown."""
    names = list(header)
    lines = [names, ["---"] * len(names), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: object) -> str:
    """Text in the type of code; nothing for nothing."""
    return f"`{text}`" if text != "" else ""


def member_texts(cls: type) -> dict[str, str]:
    """The docstring below each attribute or member of a class, on one line."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        match statement, following:
            case (
                ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                texts[name] = " ".join(text.split())
    return texts


def number(value: float) -> str:
    """A number with thousands apart."""
    return f"{value:,}"


def size(value: int) -> str:
    """A number of bytes."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= unit and value % unit == 0:
            return f"{value // unit:,} {name}"
    return f"{value:,} bytes"


# Connection


def states() -> str:
    """The states, each with its deadline."""
    rows = ((code(s.name), s.value, code(DEADLINES[s].name) if s in DEADLINES else "") for s in State)
    return table(("state", "meaning", "deadline"), rows)


def inputs() -> str:
    """What moves a connection; records by their types."""
    records: dict[Input, list[str]] = {}
    for record, moved_by in RECORD_INPUTS.items():
        records.setdefault(moved_by, []).append(f"`{record:02X}`")
    rows = ((code(i.name), i.value, ", ".join(records.get(i, ()))) for i in Input)
    return table(("input", "meaning", "record types"), rows)


def transitions() -> str:
    """(state, input) → state, every one."""
    rows = ((code(s.name), ", ".join(f"`{i.name}` → `{after.name}`" for i, after in _moves(s))) for s in State)
    return table(("state", "input → next state"), rows)


def diagram() -> str:
    """All of it as a picture."""
    return mermaid(State, TRANSITIONS)


def _moves(state: State) -> list[tuple[Input, State]]:
    return [(i, after) for (before, i), after in TRANSITIONS.items() if before is state]


def outputs() -> str:
    """What poll returns for the driver."""
    rows = ((code(each.__name__), _first_lines(each)) for each in (Transmit, Disconnect, Wait))
    return table(("output", "what the driver does"), rows)


def events() -> str:
    """What poll returns for the application."""
    rows = ((code(each.__name__), _first_lines(each)) for each in get_args(Event))
    return table(("event", "meaning"), rows)


def _first_lines(cls: type) -> str:
    """The first paragraph of a docstring."""
    return " ".join(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].split()).replace("``", "`")


def timers() -> str:
    """Every deadline: what it waits for, how long, and what happens then."""
    rows = []
    for timer in Timer:
        field = TIMER_LENGTHS.get(timer, "")
        due = TIMER_ENDS[timer]
        then = f"ends with {code(due.name)}" if isinstance(due, Fault) else due
        default = f"{getattr(Limits(), field):g} s" if field else ""
        if timer is Timer.SESSION:
            field, default = "Config.session_timeout", "0 s"
        rows.append((code(timer.name), timer.value, code(field), default, then))
    return table(("timer", "waits for", "length: limit", "default", "when it is due"), rows)


def faults() -> str:
    """Every way in which a connection ends."""
    ends = {FaultClass.NONE: "clean", FaultClass.TRANSPORT: "transport", FaultClass.SESSION: "session"}
    rows = ((code(f.name), f.meaning, ends[f.cls], f.code, "yes" if f.may_reconnect else "no") for f in Fault)
    return table(("fault", "meaning", "class", "code", "may reconnect"), rows)


# Messages


def rules() -> str:
    """What received messages must keep."""
    rows = []
    for rule in Rule:
        ends = code(rule.fault.name) if rule.fault is not None else f"the call: {rule.failure('').status.name}"
        rows.append((code(rule.id), rule.meaning, ends))
    return table(("rule", "what holds", "breaking it ends the session, or the call"), rows)


def limit_tables() -> str:
    """Every limit, in the groups of the code."""
    texts = member_texts(Limits)
    waits = {field: f"Timer `{timer.name}`: {timer.value}" for timer, field in TIMER_LENGTHS.items()}
    groups: dict[str, list[tuple[str, str, str]]] = {}
    group = ""
    known = {field.name: getattr(Limits(), field.name) for field in fields(Limits)}
    for line in inspect.getsource(Limits).splitlines():
        if comment := re.fullmatch(r" {4}# (.+)", line):
            group = comment[1]
        elif (found := re.match(r" {4}(\w+): (?:int|float) = ", line)) and found[1] in known:
            name, value = found[1], known[found[1]]
            text = texts.get(name, waits.get(name, "")).replace("``", "`")
            unit = size(value) if "bytes" in name else f"{value:g}{' s' if group == 'Times' else ''}"
            groups.setdefault(group, []).append((code(name), unit, text))
    header = ("limit", "default", "meaning")
    return "\n\n".join(f"{name}:\n\n{table(header, rows)}" for name, rows in groups.items())


def announced() -> str:
    """What both ends announce, with the least that works."""
    own = Limits()
    numbers = {field.name: field.number for field in v1.SessionLimits.DESCRIPTOR.fields}
    least = {name: limits.RANGES[name][0] for name in NEGOTIATED if name in limits.RANGES}
    least |= {"envelope_bytes": limits.MIN_ENVELOPE_BYTES, "flight_messages": 1, "span_messages": 1}
    most = {"envelope_bytes": "`record_bytes` less 1,024", "flight_messages": "`span_messages`", "span_messages": "256"}
    rows = []
    for name in NEGOTIATED:
        default = getattr(own, name)
        bound = most.get(name) or number(int(limits.RANGES[name][1]))
        rows.append((numbers[name], code(name), number(default), number(int(least[name])), bound))
    return table(("field", "limit", "default", "least that is accepted", "most that an end may be set to"), rows)


def kinds() -> str:
    """The kinds of the protocol."""

    def policy(kind: AnyKind) -> str:
        once = f", once by {code(kind.once)}" if kind.once else ""
        return ("sealed" if kind.sealed else "deferred") + once

    def answer(kind: AnyKind) -> str:
        return ("stream of " if kind.stream else "") + code(kind.response.DESCRIPTOR.name)

    rows = (
        (
            code(kind.name),
            f"{kind.type}/{kind.operation}",
            code(kind.request.DESCRIPTOR.name),
            answer(kind),
            policy(kind),
        )
        for kind in STANDARD_KINDS
    )
    return table(("kind", "type/operation", "request", "answer", "policy"), rows)


def dispositions() -> str:
    """What a failure says about effects."""
    texts = member_texts(Disposition)
    return table(("number", "disposition", "meaning"), ((d.value, code(d.name), texts[d.name]) for d in Disposition))


def statuses() -> str:
    """The code numbers of google.rpc."""
    return ", ".join(f"{status.value} {status.name}" for status in Status if status is not Status.OK)


# Channel


def records() -> str:
    """The record types."""
    texts = member_texts(RecordType)
    clear = {RecordType.M1, RecordType.M2, RecordType.M3, RecordType.ALERT}
    rows = (
        (f"`{r:02X}`", r.name, texts[r.name], "no" if r in clear else "yes, the header is its associated data")
        for r in RecordType
    )
    return table(("type", "name", "body", "under a traffic key"), rows)


def suites() -> str:
    """The cipher suites, with the length of the first message."""

    def kem(suite: Suite) -> str:
        return "none" if suite.kem is None else f"{suite.kem.public_bytes} / {suite.kem.ciphertext_bytes}"

    rows = (
        (f"`{s.id:04X}`", code(s.name), kem(s), f"{handshake.first_message_bytes(s, 0)} + name_len")
        for s in SUITES.values()
    )
    return table(("number", "name", "KEM: public key / ciphertext, bytes", "body of M1, bytes"), rows)


def constants() -> str:
    """What no configuration changes."""
    rows = ((what, f"{number(int(value))} {unit}".rstrip()) for what, value, unit in CONSTANTS)
    return table(("what", "value"), rows)


def key_limits() -> str:
    """How long a traffic key lives."""
    return table(
        ("under one key", "sender changes it after", "receiver refuses more than"),
        (
            ("records", number(record_layer.RECORDS_PER_KEY), number(2 * record_layer.RECORDS_PER_KEY)),
            ("bytes of bodies", size(record_layer.BYTES_PER_KEY), size(2 * record_layer.BYTES_PER_KEY)),
        ),
    )
